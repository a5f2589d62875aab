"""Picture files to pixels, bounded: no file can make this allocate more than its limits, run code or leak a traceback.

Pixels are what Pillow decodes, as red, green, blue in 8 bits: alpha is dropped, 16 bit greys keep their upper 8 bits,
and the EXIF orientation is applied.
"""

from __future__ import annotations

import stat
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from qdsl.data.types import failure
from qdsl.diag import QdslError, Span

MAX_PIXELS = 64 * 10**6
MAX_FILE_BYTES = 256 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

# Of 255. A lens cap, an empty scan or a grey placeholder stay below, JPEG noise included; bare concrete has 4 and more.
FLAT = 2.0
_GLANCE = 64

# A closed list: Pillow's EPS reader starts Ghostscript, and the rarer readers are rarely tested against bad files.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = frozenset({5, 6, 7, 8})  # the orientations that swap width and height

# What Pillow warns of (bombs, bent EXIF) is found here by other means; a filter is set once because
# warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


def decode(path: Path, name: str, span: Span | None) -> NDArray[np.uint8]:
    """The pixels of a picture file, uint8 [height, width, 3] in RGB order, upright.

    `name` is what diagnostics call it. Raises QdslError: data-missing, data-unreadable, image-broken, image-bomb.
    """
    with open_file(path, name, span, MAX_FILE_BYTES) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                check_size(image.size, name, span)
                return _pixels(image)
        except QdslError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _bomb(name, span) from None
        # Pillow's readers meet bad bytes with OSError, SyntaxError, ValueError, struct.error, zlib.error and more.
        except Exception as error:
            raise _broken(path, name, span, error) from None


def picture_size(path: Path, name: str, span: Span | None) -> tuple[int, int]:
    """(height, width) of what `decode` would give, from the file's header alone. Raises as `decode` does."""
    with open_file(path, name, span, MAX_FILE_BYTES) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                check_size(image.size, name, span)
                turned = _orientation(image) in _SIDEWAYS
                return image.size if turned else (image.height, image.width)
        except QdslError:
            raise
        except Exception as error:  # as in `decode`
            raise _broken(path, name, span, error) from None


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture [height, width, channels] is of one colour, or nearly: no channel's standard deviation reaches
    FLAT. About 64 x 64 of its pixels are looked at first, and all of them only where those look flat."""
    step = max(1, min(pixels.shape[:2]) // _GLANCE)
    return all(_spread(part) < FLAT for part in (pixels[::step, ::step], pixels))


def _spread(pixels: NDArray[np.uint8]) -> float:
    """The largest standard deviation of a channel."""
    spreads = pixels.reshape(-1, pixels.shape[2]).std(axis=0, dtype=np.float32)
    return float(spreads.max(initial=0.0))


def open_file(path: Path, name: str, span: Span | None, limit: int) -> IO[bytes]:
    """A regular file of at most `limit` bytes, opened for reading; QdslError data-missing, data-unreadable,
    data-size."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise failure("data-unreadable", f"{name} is not a regular file", span)
        if found.st_size > limit:
            help = (f"the limit is {limit // 2**20} MiB",)
            raise failure("data-size", f"{name} has {found.st_size // 2**20} MiB, too many to read", span, help=help)
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise failure("data-missing", f"there is no file {name}", span) from None
    except (OSError, ValueError) as error:
        raise failure("data-unreadable", f"{name} cannot be read: {reason(error)}", span) from None


def reason(error: BaseException) -> str:
    """An exception's own words on one line, without the path that OSError adds."""
    text = (error.strerror or "") if isinstance(error, OSError) else ""
    text = text or str(error) or type(error).__name__
    return " ".join(text.split())[:160]


def check_size(size: tuple[int, int], name: str, span: Span | None) -> None:
    """Raises QdslError image-bomb for a picture of `size` (width, height) that is too large to decode."""
    if size[0] * size[1] > MAX_PIXELS:
        raise _bomb(name, span)


def _bomb(name: str, span: Span | None) -> QdslError:
    limit = MAX_PIXELS // 10**6
    help = (f"shrink {name} to at most {limit} megapixels, or take it out of the dataset",)
    return failure("image-bomb", f"{name} claims more than {limit} megapixels", span, help=help)


def _broken(path: Path, name: str, span: Span | None, error: Exception) -> QdslError:
    if path.stat().st_size == 0:
        why = "the file is empty"
    elif isinstance(error, UnidentifiedImageError):
        why = "it is not a JPEG, PNG, BMP, WebP, TIFF or PPM picture"
    else:
        why = reason(error)
    help = (f"take {name} out of the dataset, or replace it",)
    return failure("image-broken", f"{name} cannot be decoded: {why}", span, help=help)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    turned = image if upright is None else image.transpose(upright)
    if turned.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if turned.mode.startswith("I"):
        grey = np.clip(np.asarray(turned).astype(np.int64) >> 8, 0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(turned if turned.mode == "RGB" else turned.convert("RGB"), dtype=np.uint8)


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation; 1 (upright) where the EXIF block is absent or cannot be read, as viewers do."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
