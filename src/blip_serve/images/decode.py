"""Image files to RGB pixels, within bounds. Knows no models and where no file came from."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from types import MappingProxyType

from PIL import Image, ImageFile, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from blip_serve.allocator import give_back
from blip_serve.domain import ImageBytes, ImageFormat
from blip_serve.errors import ConfigurationError, InvalidInput, OutOfMemory
from blip_serve.images.budget import ByteBudget
from blip_serve.images.header import Size, declared_size, sniff
from blip_serve.images.orientation import upright
from blip_serve.images.quiet import quiet
from blip_serve.images.reference import empty_image
from blip_serve.images.structure.essence import Essence
from blip_serve.images.structure.walks import WALKS
from blip_serve.images.unended import with_end
from blip_serve.settings import ImageSettings

MAX_SIDE = 65535
"""Pixels; the most a JPEG can have."""
HEAVY = 320 * 1024 * 1024
"""Bytes. Where decoding took more, freed memory goes back; a usual photo needs less, and mapping it anew takes time."""
NO_MEMORY = "out of memory"
"""How Pillow's `OSError` of a decoder without memory begins."""

Opener = Callable[[io.BytesIO], ImageFile.ImageFile]
# The classes rather than `Image.open`, which tries every format it was given and warns of large images by its own rule.
_OPENERS: Mapping[ImageFormat, Opener] = MappingProxyType(
    {
        "PNG": PngImageFile,
        "JPEG": JpegImageFile,
        "WEBP": WebPImageFile,
        "GIF": GifImageFile,
        "BMP": BmpImageFile,
        "AVIF": AvifImageFile,
        "TIFF": TiffImageFile,
    }
)
_OPTIONAL: Mapping[ImageFormat, str] = MappingProxyType({"WEBP": "webp", "AVIF": "avif"})
_HEIC = "pillow_heif.as_plugin"
"""What reads HEIC, of an optional package; imported where the format is on."""

BYTES_A_PIXEL: Mapping[ImageFormat, int] = MappingProxyType(
    {"PNG": 14, "JPEG": 16, "WEBP": 24, "GIF": 11, "BMP": 8, "AVIF": 24, "TIFF": 18, "HEIC": 24}
)
"""What decoding takes at most, all copies together: the decoder's own buffers (a progressive JPEG's coefficients, a
WebP's canvases), Pillow's raster of up to 4 bytes a pixel, the white page under a transparent one, and one turned
upright. Measured with Pillow 13, by the tests again."""


class Decoder:
    """Decodes on several threads at once; together they take at most `settings.max_decode_bytes`.

    `formats`: what is read; `patience_s`: how long an image may take before its memory counts no more.
    Raises `ConfigurationError` where the settings name HEIC and its package is not there.
    """

    def __init__(self, settings: ImageSettings, patience_s: float = 60) -> None:
        self._max_pixels = settings.max_pixels
        self._budget = ByteBudget(settings.max_decode_bytes, patience_s)
        self._openers = {kind: _opener(kind) for kind in settings.formats if _built(kind)}
        self.formats = frozenset(self._openers)
        if "TIFF" in self.formats:
            quiet()

    def reads(self, head: bytes) -> bool:
        """Whether a file that begins with `head`, `HEAD_BYTES` of it, is of a format that is read."""
        return sniff(head) in self.formats

    @contextmanager
    def open(self, image: ImageBytes) -> Iterator[Image.Image]:
        """The first frame as an RGB image, upright by its EXIF or XMP orientation, transparency over white.

        16 bits a channel are cut to the upper 8; colour profiles are not applied, nor is the colour that a 16-bit grey
        PNG may name transparent. Its memory is reserved until the block ends. Raises `InvalidInput`: `empty_image`,
        `unsupported_image_format`, `invalid_image_dimensions`, `image_too_large`, `invalid_image`; `OutOfMemory`;
        and `NotNow` where other images take the memory it needs.
        """
        kind = self._kind(image)
        declared = declared_size(image.data, kind)
        self._check_size(declared, image.param)
        with _named_failures(image.param):
            essence = WALKS[kind](image.data)
            picture = self._open(essence.data, kind)
        self._check_size(picture.size, image.param)
        weight = _pixels(declared, picture.size) * BYTES_A_PIXEL[kind]
        with self._budget.reserve(weight + essence.tables):
            with _named_failures(image.param):
                if not essence.ended:
                    picture = self._open(with_end(essence.data), kind)
                rgb = _upright(picture, _to_rgb(picture), essence)
            try:
                yield rgb
            finally:
                picture.close()
                rgb.close()
        if weight > HEAVY:
            give_back()

    def _open(self, data: bytes, kind: ImageFormat) -> ImageFile.ImageFile:
        return self._openers[kind](io.BytesIO(data))

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


def own_formats() -> tuple[ImageFormat, ...]:
    """All that can be read here, for files of one's own."""
    try:
        _opener("HEIC")
    except ConfigurationError:
        return tuple(_OPENERS)
    return (*_OPENERS, "HEIC")


def check_formats(settings: ImageSettings) -> None:
    """Raises `ConfigurationError` where the settings name HEIC and its package is not there."""
    if "HEIC" in settings.formats:
        _opener("HEIC")


def _built(kind: ImageFormat) -> bool:
    return kind not in _OPTIONAL or bool(features.check(_OPTIONAL[kind]))


def _opener(kind: ImageFormat) -> Opener:
    if kind != "HEIC":
        return _OPENERS[kind]
    try:
        opener: Opener = import_module(_HEIC).HeifImageFile
    except ImportError:
        raise ConfigurationError(
            "images.formats: HEIC needs the package pillow-heif: pip install 'blip-serve[heic]'"
        ) from None
    return opener


def _pixels(*sizes: Size | None) -> int:
    """Of the largest: what a file declares may be more than what its decoder says, and less."""
    return max(size[0] * size[1] for size in sizes if size)


@contextmanager
def _named_failures(param: str) -> Iterator[None]:
    """Decoders fail with whatever they like (SyntaxError, struct.error ...); for the client it is one.

    That memory lacks is no fault of the file: its size was bounded before.
    """
    try:
        yield
    except Image.DecompressionBombError as error:  # only where `max_pixels` is set above Pillow's own limit
        raise InvalidInput("The image has too many pixels.", code="image_too_large", param=param) from error
    except MemoryError as error:
        raise _no_memory() from error
    except Exception as error:
        if str(error).startswith(NO_MEMORY):
            raise _no_memory() from error
        raise InvalidInput(
            "The file is not a readable image; it may be damaged or cut off.", code="invalid_image", param=param
        ) from error


def _no_memory() -> OutOfMemory:
    return OutOfMemory("There is no memory to decode the image.", retry_after=5)


def _to_rgb(picture: ImageFile.ImageFile) -> Image.Image:
    picture.load()
    if picture.mode.startswith("I;16"):
        return _upper_bytes(picture).convert("RGB")
    if picture.has_transparency_data:
        return _over_white(_in_mode(picture, "RGBA"))
    return _in_mode(picture, "RGB")


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """`picture.convert(mode)`, which would copy one that has the mode."""
    return picture if picture.mode == mode else picture.convert(mode)


def _upper_bytes(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit; Pillow's own conversion makes everything from 256 up white."""
    return Image.frombytes("L", picture.size, picture.tobytes("raw", "I;16B")[::2])


def _over_white(rgba: Image.Image) -> Image.Image:
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _upright(picture: ImageFile.ImageFile, rgb: Image.Image, essence: Essence) -> Image.Image:
    """`rgb` turned as the file says: what was taken out of it, or what its decoder gives."""
    exif, xmp = (picture.info.get(key, b"") for key in ("exif", "xmp"))
    return upright(rgb, essence.exif or exif, essence.xmp or xmp)
