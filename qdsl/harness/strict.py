"""Reads plain data strictly: every value is looked at, and what does not fit is named with its place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_Value = TypeVar("_Value")
_SPELLED = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_LARGEST = 1 << 62
_HUGE = 1e300
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PLAIN_NAME = re.compile(r"\w[\w.+-]{0,199}")


class UnfitError(Exception):
    """A value that is not what was expected; the message says where it stands and what would fit."""


@dataclass(frozen=True, slots=True)
class Part:
    """A value out of JSON, and where it stands. Each method returns it as one type, or raises UnfitError."""

    value: Any
    where: str

    def unfit(self, reason: str) -> UnfitError:
        """What to raise when the value does not fit."""
        return UnfitError(f"{self.where[:200]}: {reason}")

    def fields(self, *names: str) -> dict[str, Part]:
        """The values of an object that has exactly these keys."""
        if not isinstance(self.value, dict) or self.value.keys() != set(names):
            raise self.unfit(f"expected the keys {', '.join(names)}")
        return {name: Part(self.value[name], f"{self.where}.{name}") for name in names}

    def entries(self, most: int = _LARGEST) -> dict[str, Part]:
        """The values of an object whose keys are free, `most` of them."""
        if not isinstance(self.value, dict):
            raise self.unfit("expected an object")
        if len(self.value) > most:
            raise self.unfit(f"expected at most {most} entries, found {len(self.value)}")
        return {name: Part(value, f"{self.where}.{name}") for name, value in self.value.items()}

    def items(self) -> list[Part]:
        """The values of a list."""
        if not isinstance(self.value, list):
            raise self.unfit("expected a list")
        return [Part(value, f"{self.where}[{at}]") for at, value in enumerate(self.value)]

    def row(self, count: int) -> list[Part]:
        """The values of a list of `count`."""
        found = self.items()
        if len(found) != count:
            raise self.unfit(f"expected {count} values, found {len(found)}")
        return found

    def maybe(self, read: Callable[[Part], _Value]) -> _Value | None:
        """None, or what `read` makes of the value."""
        return None if self.value is None else read(self)

    def text(self, most: int = _LARGEST) -> str:
        """A text of at most `most` characters."""
        if not isinstance(self.value, str):
            raise self.unfit(f"expected a text, found {self._shown()}")
        if len(self.value) > most:
            raise self.unfit(f"expected a text of at most {most} characters, found {len(self.value)}")
        return self.value

    def name(self) -> str:
        """The name of one file or folder: no path, and nothing hidden."""
        found = self.text()
        if not _PLAIN_NAME.fullmatch(found):
            raise self.unfit("expected the name of a file, without a path")
        return found

    def sha256(self) -> str:
        found = self.text()
        if not _SHA256.fullmatch(found):
            raise self.unfit("expected 64 hexadecimal digits")
        return found

    def one_of(self, *known: str) -> str:
        found = self.text()
        if found not in known:
            raise self.unfit(f"expected one of {', '.join(known)}")
        return found

    def whole(self, least: int = 0, most: int = _LARGEST) -> int:
        found = self.value
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise self.unfit(f"expected a whole number from {least}, found {self._shown()}")
        return found

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.unfit(f"expected true or false, found {self._shown()}")
        return self.value

    def number(self) -> float:
        """A number; infinity and NaN stand as texts."""
        if isinstance(self.value, str) and self.value in _SPELLED:
            return _SPELLED[self.value]
        return self.finite()

    def finite(self, least: float = -_HUGE, most: float = _HUGE) -> float:
        found = self.value
        known = isinstance(found, (int, float)) and not isinstance(found, bool)
        if not known or not least <= found <= most:
            ends = f" from {least:g} to {most:g}" if (least, most) != (-_HUGE, _HUGE) else ""
            raise self.unfit(f"expected a number{ends}, found {self._shown()}")
        return float(found)

    def _shown(self) -> str:
        return repr(self.value)[:60]
