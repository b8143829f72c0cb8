"""Decodes image files to RGB pixels, within limits. Knows no models and no sources of files."""

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
from blip_serve.domain import ImageBytes, ImageFormat, Size
from blip_serve.errors import ConfigurationError, InvalidInput, OutOfMemory
from blip_serve.images.budget import ByteBudget
from blip_serve.images.header import declared_size, sniff
from blip_serve.images.orientation import lies_on_its_side, upright
from blip_serve.images.quiet import quiet
from blip_serve.images.reference import empty_image
from blip_serve.images.structure.essence import Essence
from blip_serve.images.structure.walks import WALKS
from blip_serve.images.unended import with_end
from blip_serve.settings import ImageSettings

MAX_SIDE = 65535
"""Pixels; the largest side of a JPEG."""
HEAVY = 320 * 1024 * 1024
"""Bytes. After a larger decode, freed memory returns to the system. Usual photos need less: returning it costs time."""
NO_MEMORY = "out of memory"
"""Start of the message of Pillow's `OSError` when a decoder runs out of memory."""

Opener = Callable[[io.BytesIO], ImageFile.ImageFile]
# Not `Image.open`: it tries every format, and warns of large images by a limit of its own.
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
"""The module that reads HEIC. Its package is optional; it is imported only if the format is enabled."""

BYTES_A_PIXEL: Mapping[ImageFormat, int] = MappingProxyType(
    {"PNG": 14, "JPEG": 16, "WEBP": 24, "GIF": 11, "BMP": 8, "AVIF": 24, "TIFF": 18, "HEIC": 24}
)
"""Peak memory of decoding, in bytes per pixel. It is the sum of all copies of the image.

These are: the decoder's buffers (coefficients of a progressive JPEG, canvases of a WebP), Pillow's raster of up to 4
bytes per pixel, the white page under a transparent image, and the rotated image. Measured with Pillow 13; a test
measures it again.
"""


class Decoder:
    """Decodes images on several threads. Together they use at most `settings.max_decode_bytes` of memory.

    `formats`: the formats that it reads. `patience_s`: seconds after which the memory of an image is no longer counted.
    Raises `ConfigurationError` if the settings enable HEIC and its package is not installed.
    """

    def __init__(self, settings: ImageSettings, patience_s: float = 60) -> None:
        self._max_pixels = settings.max_pixels
        self._budget = ByteBudget(settings.max_decode_bytes, patience_s)
        self._openers = {kind: _opener(kind) for kind in settings.formats if _built(kind)}
        self.formats = frozenset(self._openers)
        if "TIFF" in self.formats:
            quiet()

    @contextmanager
    def open(self, image: ImageBytes) -> Iterator[Image.Image]:
        """The first frame as an RGB image, rotated by its EXIF or XMP orientation, transparent parts white.

        Channels of 16 bits are cut to their upper 8 bits. Colour profiles are ignored, and so is the transparent colour
        of a 16-bit grey PNG. The memory stays reserved until the `with` ends.

        Raises `InvalidInput`: `empty_image`, `unsupported_image_format`, `invalid_image_dimensions`, `image_too_large`,
        `invalid_image`. Raises `OutOfMemory`, and `NotNow` if other images use the memory that it needs.
        """
        kind, declared, essence, picture = self._opened(image)
        needed = _pixels(declared, picture.size) * BYTES_A_PIXEL[kind]
        with self._budget.reserve(needed + essence.tables):
            with _named_failures(image.param):
                if not essence.ended:
                    picture = self._open(with_end(essence.data), kind)
                rgb = _upright(picture, _to_rgb(picture), essence)
            try:
                yield rgb
            finally:
                picture.close()
                rgb.close()
        if needed > HEAVY:
            give_back()

    def size(self, image: ImageBytes) -> Size:
        """Width and height of the picture that `open` gives. Decodes no pixels. Raises `InvalidInput` as `open`."""
        _, _, essence, picture = self._opened(image)
        with picture:
            width, height = picture.size
            return (height, width) if lies_on_its_side(*_orientation(picture, essence)) else (width, height)

    def _opened(self, image: ImageBytes) -> tuple[ImageFormat, Size | None, Essence, ImageFile.ImageFile]:
        """The format, the size that the header declares, the file's own bytes, and the picture, not decoded yet."""
        kind = self._kind(image)
        declared = declared_size(image.data, kind)
        self._check_size(declared, image.param)
        with _named_failures(image.param):
            essence = WALKS[kind](image.data)
            picture = self._open(essence.data, kind)
        self._check_size(picture.size, image.param)
        return kind, declared, essence, picture

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
    """All formats that can be read on this machine. Meant for trusted files."""
    try:
        _opener("HEIC")
    except ConfigurationError:
        return tuple(_OPENERS)
    return (*_OPENERS, "HEIC")


def check_formats(settings: ImageSettings) -> None:
    """Raises `ConfigurationError` if the settings enable HEIC and its package is not installed."""
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
    """Pixels of the largest of `sizes`. The size in a header may be larger or smaller than the decoder's."""
    return max(size[0] * size[1] for size in sizes if size)


@contextmanager
def _named_failures(param: str) -> Iterator[None]:
    """Turns any error of a decoder (`SyntaxError`, `struct.error` ...) into one error for the client.

    A lack of memory is not the file's fault, because its size was checked before. It becomes `OutOfMemory`.
    """
    try:
        yield
    except Image.DecompressionBombError as error:  # only if `max_pixels` is above Pillow's own limit
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
    """Like `picture.convert(mode)`, without a copy if the picture already has the mode."""
    return picture if picture.mode == mode else picture.convert(mode)


def _upper_bytes(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey. Pillow's own conversion turns all values from 256 up to white."""
    return Image.frombytes("L", picture.size, picture.tobytes("raw", "I;16B")[::2])


def _over_white(rgba: Image.Image) -> Image.Image:
    page = Image.new("RGB", rgba.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return page


def _upright(picture: ImageFile.ImageFile, rgb: Image.Image, essence: Essence) -> Image.Image:
    """`rgb`, rotated by the orientation in `essence`, or else in what the decoder read."""
    return upright(rgb, *_orientation(picture, essence))


def _orientation(picture: ImageFile.ImageFile, essence: Essence) -> tuple[bytes, bytes]:
    """The EXIF and XMP data that tell the orientation."""
    exif, xmp = (picture.info.get(key, b"") for key in ("exif", "xmp"))
    return essence.exif or exif, essence.xmp or xmp
