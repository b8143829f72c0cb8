"""Image files to RGB pixels, within bounds. Knows no models and where no file came from."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from PIL import ExifTags, Image, ImageFile, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from blip_serve.domain import ImageBytes
from blip_serve.errors import InvalidInput
from blip_serve.images.budget import PixelBudget
from blip_serve.images.header import ImageFormat, Size, declared_size, jpeg_scans, sniff
from blip_serve.images.reference import empty_image
from blip_serve.settings import ImageSettings

MAX_SIDE = 65535
"""Pixels; the most a JPEG can have."""
MAX_JPEG_SCANS = 100
"""Encoders write about ten. Each costs up to 1 ms a megapixel, and 60 bytes of file."""


class FirstFrameGif(GifImageFile):
    """A GIF of which one frame is read: opening it makes no room for what the second would be laid over.

    Pillow makes it as soon as it meets the first frame, whose size the file's header does not bound.
    """

    @property
    def disposal_method(self) -> int:
        """What becomes of a frame once its time is over: nothing."""
        return 0

    @disposal_method.setter
    def disposal_method(self, method: int) -> None: ...


# The classes rather than `Image.open`, which tries every format it was given and warns of large images by its own rule.
_OPENERS: Mapping[ImageFormat, Callable[[io.BytesIO], ImageFile.ImageFile]] = MappingProxyType(
    {
        "PNG": PngImageFile,
        "JPEG": JpegImageFile,
        "WEBP": WebPImageFile,
        "GIF": FirstFrameGif,
        "BMP": BmpImageFile,
        "AVIF": AvifImageFile,
    }
)
_OPTIONAL: Mapping[ImageFormat, str] = MappingProxyType({"WEBP": "webp", "AVIF": "avif"})
_UPRIGHT = MappingProxyType(
    {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
)


class Decoder:
    """Decodes on worker threads; together they hold at most `settings.max_pixels_in_flight` pixels.

    `formats`: what is read.
    """

    def __init__(self, settings: ImageSettings) -> None:
        self._max_pixels = settings.max_pixels
        self._budget = PixelBudget(settings.max_pixels_in_flight)
        self.formats = frozenset(kind for kind in _OPENERS if kind not in _OPTIONAL or features.check(_OPTIONAL[kind]))

    def reads(self, head: bytes) -> bool:
        """Whether a file that begins with `head`, `HEAD_BYTES` of it, is of a format that is read."""
        return sniff(head) in self.formats

    @contextmanager
    def open(self, image: ImageBytes) -> Iterator[Image.Image]:
        """The first frame as an RGB image, upright by its EXIF orientation, transparency over white.

        16 bits a channel are cut to the upper 8; colour profiles are not applied, nor is the colour that a 16-bit grey
        PNG may name transparent. The pixels count as in flight until the block ends. Raises `InvalidInput`:
        `empty_image`, `unsupported_image_format`, `invalid_image_dimensions`, `image_too_large`, `invalid_image`.
        """
        kind = self._kind(image)
        self._check_size(declared_size(image.data, kind), image.param)
        with _named_failures(image.param):
            picture = _open(image.data, kind)
        self._check_size(picture.size, image.param)
        with self._budget.reserve(picture.width * picture.height):
            with _named_failures(image.param):
                rgb = _upright(picture, _to_rgb(picture))
            yield rgb

    def _kind(self, image: ImageBytes) -> ImageFormat:
        if not image.data:
            raise empty_image(image.param)
        kind = sniff(image.data)
        if kind is None or kind not in self.formats:
            raise InvalidInput(
                f"The image's format is not supported; give one of {', '.join(sorted(self.formats))}.",
                code="unsupported_image_format",
                param=image.param,
            )
        return kind

    def _check_size(self, size: Size | None, param: str) -> None:
        if size is None:
            return
        if min(size) < 1 or max(size) > MAX_SIDE:
            raise InvalidInput(
                f"The image's width and height must be 1 to {MAX_SIDE} pixels.",
                code="invalid_image_dimensions",
                param=param,
            )
        if size[0] * size[1] > self._max_pixels:
            raise InvalidInput(
                f"The image has more than {self._max_pixels} pixels.", code="image_too_large", param=param
            )


def _open(data: bytes, kind: ImageFormat) -> ImageFile.ImageFile:
    if kind == "JPEG" and jpeg_scans(data) > MAX_JPEG_SCANS:
        raise ValueError("too many scans")
    return _OPENERS[kind](io.BytesIO(data))


@contextmanager
def _named_failures(param: str) -> Iterator[None]:
    """Decoders fail with whatever they like (SyntaxError, struct.error, MemoryError ...); for the client it is one."""
    try:
        yield
    except Image.DecompressionBombError as error:  # only where `max_pixels` is set above Pillow's own limit
        raise InvalidInput("The image has too many pixels.", code="image_too_large", param=param) from error
    except Exception as error:
        raise InvalidInput(
            "The file is not a readable image; it may be damaged or cut off.", code="invalid_image", param=param
        ) from error


def _to_rgb(picture: ImageFile.ImageFile) -> Image.Image:
    picture.load()
    if picture.mode.startswith("I;16"):
        return _upper_bytes(picture).convert("RGB")
    if picture.has_transparency_data:
        return _over_white(picture.convert("RGBA"))
    return picture.convert("RGB")


def _upper_bytes(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit; Pillow's own conversion makes everything from 256 up white."""
    return Image.frombytes("L", picture.size, picture.tobytes("raw", "I;16B")[::2])


def _over_white(rgba: Image.Image) -> Image.Image:
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _upright(picture: Image.Image, rgb: Image.Image) -> Image.Image:
    """`rgb` turned as `picture`'s EXIF data says; data that cannot be read say nothing."""
    try:
        transpose = _UPRIGHT.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return rgb
    return rgb if transpose is None else rgb.transpose(transpose)
