"""The words of a lock's lines: names in quotes, hashes, counts, and numbers that read back to the same bits."""

from __future__ import annotations

import json
import math
import re
import struct

_QUOTED = r'"(?:[^"\\]|\\.)*"'
TOKEN = re.compile(rf"{_QUOTED}|[^ \"]+")
_HASH = re.compile(r"[0-9a-f]{64}")
_COUNT = re.compile(r"[0-9]{1,12}")
_NUMBER = re.compile(r"(-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:e[+-][0-9]{1,3})?)(d?)")


class WordError(ValueError):
    """A word of a line is not what its place asks for; the message says what was expected."""


def quoted(text: str) -> str:
    """A name in quotes. What does not print (or is no character at all) is escaped, so that it cannot hide."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def unquoted(word: str) -> str:
    try:
        found = json.loads(word) if word.startswith('"') else None
    except ValueError:
        found = None
    if not isinstance(found, str):
        raise WordError("expected a name in quotes")
    return found


def sha256(word: str) -> str:
    if not _HASH.fullmatch(word):
        raise WordError("expected a SHA-256 in 64 hexadecimal digits")
    return word


def count(word: str) -> int:
    if not _COUNT.fullmatch(word):
        raise WordError("expected a count")
    return int(word)


def number(value: float) -> str:
    """The shortest decimal that reads back as the same float32; a value that is no float32 is written in full, as a
    float64, with `d` behind it."""
    if _single(value) != value:
        return f"{value!r}d"
    digits = (f"{value:.{precision}g}" for precision in range(1, 9))
    return next((text for text in digits if _single(float(text)) == value), f"{value:.9g}")


def read_number(word: str) -> float:
    found = _NUMBER.fullmatch(word)
    value = math.inf
    if found is not None:
        value = float(found[1]) if found[2] else _single(float(found[1]))
    if not math.isfinite(value):
        raise WordError("expected a finite number")
    return value


def _single(value: float) -> float:
    """`value` rounded to float32; infinity when it is too large for one."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.inf
