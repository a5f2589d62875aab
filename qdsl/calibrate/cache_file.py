"""A TensorRT calibration cache as text: one scale per tensor, as the calibrators of TensorRT up to 10.x wrote it.

    TRT-8600-EntropyCalibration2
    images: 3c010a14

After the last colon of a line stand the bits of a float32 in hexadecimal, most significant first: scale = largest
absolute value / 127 (`sampleOptions.cpp` of TensorRT gives a tensor the dynamic range -127 * scale to 127 * scale).
TensorRT writes them without leading zeros. A file is untrusted: its size and its names are bounded, and every line that
does not fit is told.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.data.image import open_file, reason
from qdsl.data.types import failure
from qdsl.diag import Diagnostic, Diagnostics, QdslError, Span
from qdsl.spec.words import plain, shortened

ALGORITHMS = ("EntropyCalibration2", "EntropyCalibration", "MinMaxCalibration", "LegacyCalibration")
LARGEST = 16 << 20  # bytes: a network of some 200,000 tensors
_LONGEST = 4096  # characters of a line
_MOST_TOLD = 10
_HEADER = re.compile(rf"TRT-([1-9][0-9]{{3,5}})-({'|'.join(ALGORITHMS)})")
_ENTRY = re.compile(r"(.+): ?([0-9a-fA-F]{1,8})")
_STEPS = 127
# What scales of networks are like. Programs beside TensorRT write their bytes in the other order: far outside it.
_LIKELY = (1e-12, 1e9)
_ORDER = "the bytes of its scales stand in the wrong order: TensorRT writes the most significant first"
_CURE = "let TensorRT's calibrator write it anew, or calibrate here: `calibrate minmax on DATA`"


@dataclass(frozen=True, slots=True)
class CalibrationCache:
    """`version` as the header has it ("8600", "100300"), `scales` by tensor name in the order of the file, none
    negative. `sha256` is that of the file's bytes."""

    version: str
    algorithm: str
    scales: Mapping[str, float]
    sha256: str

    @property
    def release(self) -> str:
        """The version of TensorRT that wrote it, in its usual spelling: `8.6.0`, `10.3.0`."""
        number = int(self.version)
        thousand = 10_000 if number >= 100_000 else 1000
        major, rest = divmod(number, thousand)
        return f"{major}.{rest // 100}.{rest % 100}"

    def amax(self, tensor: str) -> float:
        """The largest absolute value of `tensor`, which the cache has; KeyError otherwise."""
        return _STEPS * self.scales[tensor]


def is_unnamed(tensor: str) -> bool:
    """Whether TensorRT made up this name for what has none in the model: `(Unnamed Layer* 12) [Shuffle]_output`."""
    return tensor.startswith("(Unnamed Layer*")


def read_cache(path: Path, name: str, span: Span | None = None) -> CalibrationCache:
    """The cache at `path`, which messages call `name`; `span` is the line of a recipe that names it. Raises QdslError
    data-missing, data-unreadable, data-size, and calibration-cache for each line that does not fit."""
    with open_file(path, name, span, LARGEST) as file:
        try:
            content = file.read(LARGEST)
        except OSError as error:
            raise failure("data-unreadable", f"{name} cannot be read: {reason(error)}", span) from None
    return parse_cache(content, name)


def parse_cache(content: bytes, name: str) -> CalibrationCache:
    """The cache in the bytes of a file that messages call `name`. Raises QdslError calibration-cache."""
    lines = [line.rstrip("\r ") for line in content.decode("utf-8", "surrogateescape").split("\n")]
    header = _HEADER.fullmatch(lines[0])
    if header is None:
        raise QdslError([_wrong_header(name, lines[0])])
    reader = _Reader(name)
    for number, line in enumerate(lines[1:], start=2):
        if line:
            reader.line(number, line)
    if _turned(reader.read):
        raise QdslError([_problem(name, 2, lines[1], _ORDER)])
    reader.problems.raise_errors()
    if not reader.scales:
        raise QdslError([_problem(name, 1, lines[0], "it names no tensor")])
    return CalibrationCache(header[1], header[2], reader.scales, hashlib.sha256(content).hexdigest())


def holds(name: str) -> bool:
    """Whether a line of a cache can name a tensor so: printable, and short enough to be read again."""
    return bool(name) and name.isprintable() and len(name) <= _LONGEST - len(": 01234567")


def render_cache(version: str, scales: Mapping[str, float], algorithm: str = "EntropyCalibration2") -> str:
    """The text of a cache. Raises ValueError for a scale that float32 does not hold, or a name that no line can
    (see `holds`)."""
    for name in scales:
        if not holds(name):
            raise ValueError(f"no line of a calibration cache holds the name {name!r}")
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items()]
    return "\n".join([f"TRT-{version}-{algorithm}", *lines, ""])


class _Reader:
    """Takes the lines below the header; what is wrong with any of them is collected."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.scales: dict[str, float] = {}
        self.problems = Diagnostics()
        self.read: list[float] = []
        self._lines: dict[str, int] = {}

    def line(self, number: int, line: str) -> None:
        why = self._take(number, line)
        if not why:
            return
        if len(self.problems) < _MOST_TOLD:
            self.problems.add(_problem(self.name, number, line, why))
        else:
            self.problems.more += 1

    def _take(self, number: int, line: str) -> str:
        """What is wrong with a line, "" for nothing."""
        if len(line) > _LONGEST:
            return f"it has more than {_LONGEST} characters"
        if not line.isprintable():
            return "it is not UTF-8 text, or holds a control character"
        entry = _ENTRY.fullmatch(line)
        if entry is None:
            return "expected the name of a tensor, a colon, and up to 8 hexadecimal digits"
        tensor, (scale,) = entry[1], struct.unpack(">f", bytes.fromhex(entry[2].zfill(8)))
        self.read.append(scale)
        if tensor in self.scales:
            return f"`{shortened(tensor)}` stands at line {self._lines[tensor]}, too"
        if not math.isfinite(scale) or scale < 0 or math.copysign(1, scale) < 0:
            return f"a scale is a number from 0, this is {scale:g}"
        self.scales[tensor], self._lines[tensor] = scale, number
        return ""


def _turned(read: Sequence[float]) -> bool:
    """Whether most numbers are such as no scale is, and nearly all would be one with their bytes in the other order."""
    bits = [scale for scale in read if scale]
    turned = (struct.unpack("<f", struct.pack(">f", scale))[0] for scale in bits)
    low, high = _LIKELY
    as_read = sum(low < scale < high for scale in bits)
    return 2 * as_read < len(bits) and sum(low < scale < high for scale in turned) > 0.9 * len(bits)


def _wrong_header(name: str, line: str) -> Diagnostic:
    begins = line.startswith("TRT-")
    kinds = ", ".join(ALGORITHMS)
    why = f"expected `TRT-<version>-<calibration>`, which is one of {kinds}" if begins else "it is no calibration cache"
    return _problem(name, 1, line, f"{why}: found `{plain(shortened(line, 60))}`")


def _problem(name: str, line: int, text: str, why: str) -> Diagnostic:
    """`text` is the whole line, for the width of what is marked."""
    span = Span(name, line, 1, line, len(text) + 1)
    return Diagnostic(
        "calibration-cache", f"`{Path(name).name}` is not a usable calibration cache", span, why, (_CURE,)
    )
