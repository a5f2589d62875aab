"""Picture files to pixels, bounded: no file can make this allocate more than its limits, run code or leak a traceback.

Pixels are what Pillow decodes, as red, green, blue in 8 bits: alpha is dropped, 16 bit greys keep their upper 8 bits,
and the EXIF orientation is applied. Decoding takes at most `MAX_BYTES`, by what each format takes for a pixel, of which
the 3 stay that are handed on; of pictures that take over `LARGE` only one at a time is in memory.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from qdsl.data.types import Item, failure
from qdsl.diag import QdslError, Span

# Bytes for each pixel of the file's picture, at most, by what was measured of Pillow 12: decoded with 4 bytes, copied
# out with 3, and what the decoder holds beside: a whole strip of a TIFF, two bytes for each coefficient of a
# progressive JPEG, the canvas of a WebP animation and its frame.
USUAL, WIDE, WEBP = 9, 13, 17
MAX_PIXELS = 64 * 10**6  # of most pictures
MAX_BYTES = USUAL * MAX_PIXELS
LARGE = USUAL * 8 * 10**6  # bytes from which pictures wait for one another
MAX_FILE_BYTES = 256 * 2**20
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

# Of 255. A lens cap, an empty scan or a grey placeholder stay below, JPEG noise included; bare concrete has 4 and more.
FLAT = 2.0
_GLANCE = 64
_STRIP = 2**20  # pixels that are converted at a time
_ONE_LARGE = ThreadPoolExecutor(1, "qdsl-large")
_T = TypeVar("_T")

# A closed list: Pillow's EPS reader starts Ghostscript, and the rarer readers are rarely tested against bad files.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "PPM")
_ORIENTATION = 0x0112
_TILE_SIDES = (322, 323)


def _as_it_is(upright: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return upright


# From the upright picture to the one that lies in the file, by its EXIF orientation.
_UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}
_SIDEWAYS = frozenset({5, 6, 7, 8})  # the orientations that swap width and height

# What Pillow warns of (bombs, bent EXIF) is found here by other means; a filter is set once because
# warnings.catch_warnings is not safe in threads.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\..*")


def with_pixels(item: Item, span: Span | None, use: Callable[[NDArray[np.uint8]], _T]) -> _T:
    """What `use` makes of the pixels of a picture. Large picture files wait for one another and are read in a thread of
    their own, so that what the allocator keeps of one serves the next. Raises as `decode` does."""
    if item.frame is not None:
        return use(item.frame.pixels())
    try:
        return use(decode(item.path, item.id, span, most=LARGE))
    except _LargeError:
        return _ONE_LARGE.submit(lambda: use(decode(item.path, item.id, span))).result()


class _LargeError(Exception):
    """A picture takes more memory than should be used here."""


def decode(path: Path, name: str, span: Span | None, most: int | None = None) -> NDArray[np.uint8]:
    """The pixels of a picture file, uint8 [height, width, 3] in RGB order, upright.

    `name` is what diagnostics call it. Raises QdslError: data-missing, data-unreadable, image-broken, image-bomb; and
    _LargeError where it takes more than `most` bytes.
    """
    with open_file(path, name, span, MAX_FILE_BYTES) as file:
        try:
            with Image.open(file, formats=_FORMATS) as image:
                taken = require_room(image, name, span)
                if most is not None and taken > most:
                    raise _LargeError
                return _pixels(image)
        except (QdslError, _LargeError):
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
                require_room(image, name, span)
                turned = _orientation(image) in _SIDEWAYS
                return image.size if turned else (image.height, image.width)
        except QdslError:
            raise
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise _bomb(name, span) from None
        except Exception as error:  # as in `decode`
            raise _broken(path, name, span, error) from None


def is_flat(pixels: NDArray[np.uint8]) -> bool:
    """Whether a picture [height, width, channels] is of one colour, or nearly: no channel's standard deviation reaches
    FLAT. About 64 x 64 of its pixels are looked at first, and all of them only where those look flat."""
    step = max(1, min(pixels.shape[:2]) // _GLANCE)
    return all(_spread(part) < FLAT for part in (pixels[::step, ::step], pixels))


def _spread(pixels: NDArray[np.uint8]) -> float:
    """The largest standard deviation of a channel, from how often each value occurs."""
    height, width, channels = pixels.shape
    counts = np.zeros((channels, 256))
    for top in range(0, height, _rows(width)):
        strip = pixels[top : top + _rows(width)].reshape(-1, channels)
        counts += [np.bincount(strip[:, channel], minlength=256) for channel in range(channels)]
    values, total = np.arange(256.0), height * width
    if not total:
        return 0.0
    means = counts @ values / total
    squares = (counts * (values - means[:, None]) ** 2).sum(1) / total
    return float(np.sqrt(squares.max(initial=0.0)))


def _rows(width: int) -> int:
    """How many rows of a picture are converted at a time."""
    return max(1, _STRIP // max(1, width))


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


def require_room(image: Image.Image, name: str, span: Span | None) -> int:
    """The bytes that decoding an opened picture takes, at most. Raises QdslError image-bomb above MAX_BYTES."""
    each, tile = _bytes_each(image), _tile(image)
    taken = each * max(image.width * image.height, tile)
    if taken > MAX_BYTES:
        raise _bomb(name, span, MAX_BYTES // each, "a tile of " if taken == each * tile else "")
    return taken


def _bytes_each(image: Image.Image) -> int:
    """Bytes for each pixel, see USUAL."""
    if image.format == "WEBP":
        return WEBP
    tiles = getattr(image, "tile", ())
    colours = image.format == "TIFF" and not image.mode.startswith("I")
    wide = "progressive" in image.info or any(tile.codec_name.startswith("ppm") for tile in tiles)
    wide = wide or (colours and any(";16" in str(tile.args) for tile in tiles))
    return WIDE if wide else USUAL


def _tile(image: Image.Image) -> int:
    """Pixels of a tile of a TIFF, which is decoded as a whole however little of it the picture shows."""
    tags = getattr(image, "tag_v2", {})
    sides = [tags.get(tag, 0) for tag in _TILE_SIDES]
    return int(sides[0]) * int(sides[1]) if all(isinstance(side, int) for side in sides) else 0


def check_size(size: tuple[int, int], name: str, span: Span | None) -> None:
    """Raises QdslError image-bomb for a picture of `size` (width, height) that is too large to decode."""
    if size[0] * size[1] > MAX_PIXELS:
        raise _bomb(name, span)


def _bomb(name: str, span: Span | None, pixels: int = MAX_PIXELS, what: str = "") -> QdslError:
    limit = pixels // 10**6
    help = [f"shrink {name} to at most {limit} megapixels, or take it out of the dataset"]
    if pixels < MAX_PIXELS:
        help.append(f"PNG, BMP and JPEG that is not progressive may have {MAX_PIXELS // 10**6}")
    return failure("image-bomb", f"{name} claims {what}more than {limit} megapixels", span, help=tuple(help))


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
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    image.load()
    turn = _UPRIGHT.get(_orientation(image), _as_it_is)
    size = (image.width, image.height) if _orientation(image) in _SIDEWAYS else (image.height, image.width)
    upright = np.empty((*size, 3), np.uint8)
    lying = turn(upright)  # a view: what is written there as the file has it stands upright in the result
    for top in range(0, image.height, _rows(image.width)):
        bottom = min(image.height, top + _rows(image.width))
        lying[top:bottom] = _rgb(image.crop((0, top, image.width, bottom)))
    return upright


def _rgb(strip: Image.Image) -> NDArray[np.uint8]:
    """A strip in red, green and blue; greys of 16 bits as [height, width, 1]."""
    if strip.mode.startswith("I"):
        grey: NDArray[np.int64] = np.asarray(strip).astype(np.int64) >> 8
        return grey.clip(0, 255).astype(np.uint8)[:, :, None]
    return np.asarray(strip if strip.mode == "RGB" else strip.convert("RGB"), dtype=np.uint8)


def _orientation(image: Image.Image) -> Any:
    """The EXIF orientation; 1 (upright) where the EXIF block is absent or cannot be read, as viewers do."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
