"""In what a node of ST's C computes: by the names of its functions, else by what it reads and writes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qdsl.stedgeai.told import FLOAT, INTEGER, MIXED, UNKNOWN

# `sssa8_ch` is weights signed symmetric, activations signed asymmetric, of 8 bits; `is8os8`, `integer_INT8`.
_INTEGER = re.compile(
    r"(^|_)[su][sa][su][sa](8|16)(_|$)|(^|_)i[su](8|16)o[su](8|16)|integer_U?INT(8|16)|(^|_)int(8|16)(_|$)", re.I
)
# `if32of32wf32`: floats in and out, weights of floats.
_FLOAT = re.compile(r"if32of32|(^|_)f32(_|$)|(^|_)float(32)?(_|$)", re.I)
_TURNS = re.compile(r"if32o[su]\d|i[su]\d+of32|f32_to_|_to_f32", re.I)
_OPERATION = re.compile(r"_(f32|f16|[su](?:1|4|8|16|32))(?=_|$)")


def by_function(names: Iterable[str]) -> str:
    """What the names of functions say: any that turns one into the other makes it mixed."""
    found = {kind for name in names if (kind := _of(name)) != UNKNOWN}
    return found.pop() if len(found) == 1 else MIXED if found else UNKNOWN


def _of(name: str) -> str:
    if _TURNS.search(name):
        return MIXED
    if _FLOAT.search(name):
        return FLOAT
    return INTEGER if _INTEGER.search(name) else UNKNOWN


def by_formats(formats: Iterable[str]) -> str:
    """What the formats of the tensors say that a node reads and writes: `STAI_FORMAT_S8`, `STAI_FORMAT_FLOAT32`."""
    floats = ["FLOAT" in each.upper() for each in formats if each]
    if not floats:
        return UNKNOWN
    return FLOAT if all(floats) else MIXED if any(floats) else INTEGER


def by_operation(word: str) -> str:
    """What a kind of operation says: `smul_s8_s8` multiplies integers, `smul_f32_f32` floats."""
    found = ["f" in each for each in _OPERATION.findall(word)]
    if not found:
        return UNKNOWN
    return FLOAT if all(found) else MIXED if any(found) else INTEGER
