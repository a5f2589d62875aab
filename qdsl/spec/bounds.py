"""What a value out of a file has to be beyond its type, as `Annotated` says it of a field; what is told otherwise."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Sized
from dataclasses import dataclass
from math import inf, nan
from typing import Annotated, Any, Final

LARGEST = 1 << 62
SHOWN, _PATH = 60, 200  # characters of a value, and of where it stands, in a message
_HUGE, _USUAL = sys.float_info.max, 1e300  # sums and squares of what is usual stay finite, or nearly
_SPELLED = {"inf": inf, "-inf": -inf, "nan": nan}


class UnfitError(ValueError):
    """A value that is not what was expected: what would fit, and the path to it from the outside in."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason, path)
        self.reason, self.path = reason, path

    def under(self, step: str) -> UnfitError:
        """The same, seen from one level further out."""
        return UnfitError(self.reason, step + self.path)

    def __str__(self) -> str:
        where = self.path.removeprefix(".")[:_PATH]
        return f"{where}: {self.reason}" if where else self.reason


def shown(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return repr(value)[:SHOWN]


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, both ends included."""

    least: int = 0
    most: int = LARGEST

    def read(self, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            low = f" from {self.least}" if self.least > -LARGEST else ""
            high = f" to {self.most}" if self.most < LARGEST else ""
            raise UnfitError(f"expected a whole number{low}{high}, found {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, both ends included; `spelled`: or infinity or NaN, which stand as texts."""

    least: float = -_HUGE
    most: float = _HUGE
    spelled: bool = False

    def read(self, value: Any) -> float:
        if self.spelled and isinstance(value, str) and value in _SPELLED:
            return _SPELLED[value]
        known = isinstance(value, int | float) and not isinstance(value, bool)
        if not known or not self.least <= value <= self.most:
            ends = f" from {self.least:g} to {self.most:g}" if self.most < _USUAL else ""
            raise UnfitError(f"expected a number{ends}, found {shown(value)}")
        return float(value)


@dataclass(frozen=True, slots=True)
class Text:
    """A text of so many characters at most; `filled`: and not only white space."""

    most: int = LARGEST
    filled: bool = False

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            raise UnfitError(f"expected a text, found {shown(value)}")
        if len(value) > self.most:
            raise UnfitError(f"expected a text of at most {self.most} characters, found {len(value)}")
        if self.filled and not value.strip():
            raise UnfitError("expected a text that is not empty")
        return value


@dataclass(frozen=True, slots=True)
class Match:
    """A text that `pattern` matches as a whole; `what` says so in words."""

    pattern: str
    what: str

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise UnfitError(f"expected {self.what}, found {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of some texts."""

    words: Collection[str]

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise UnfitError(f"expected one of {', '.join(self.words)}, found {shown(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Many:
    """How many entries a list or an object has, both ends included."""

    least: int = 0
    most: int = LARGEST

    def problem(self, value: Sized) -> str:
        if self.least <= len(value) <= self.most:
            return ""
        bound = f"at most {self.most}" if len(value) > self.most else f"at least {self.least}"
        return f"expected {bound}, found {len(value)}"


@dataclass(frozen=True, slots=True)
class Check:
    """`problem` says what is wrong with a value that was read, "" for nothing."""

    problem: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Stands:
    """The field's key in the data, where that is another than its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Keyed:
    """A row of dataclasses that stands as an object, whose keys are their field `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Via:
    """A value that stands as `kind`, of which `make` makes it. What `make` raises ValueError for does not fit."""

    kind: Any
    make: Callable[[Any], Any]


ASIDE: Final = "aside"  # a field that the data does not have: it takes its default
SPARE: Final = "spare"  # a field that the data may leave out: it takes its default then

Count = Annotated[int, Whole()]
Finite = Annotated[float, Number(-_USUAL, _USUAL)]
Figure = Annotated[float, Number(-_USUAL, _USUAL, spelled=True)]
Sentence = Annotated[str, Text(filled=True)]
SomeTexts = Annotated[tuple[str, ...], Many(1)]
Sha256 = Annotated[str, Match("[0-9a-f]{64}", "64 hexadecimal digits")]
FILE_NAME = r"\w[\w.+-]{0,199}"
FileName = Annotated[str, Match(FILE_NAME, "the name of a file, without a path")]
