"""One tensor as two files: an npz for numpy, and text that any program reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
_DIGITS = {"float16": 5, "float32": 9}  # after which a decimal reads back to the same bits
_MOST = 17


def write_tensor(place: Path, facts: Mapping[str, str], arrays: Arrays) -> None:
    """Write `place`.npz with the arrays and `place`.txt with `facts`, a line each, then the arrays. Raises OSError."""
    with place.with_name(f"{place.name}.npz").open("xb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    with place.with_name(f"{place.name}.txt").open("x", encoding="utf-8", newline="\n") as text:
        for word, value in facts.items():
            text.write(f"# {word} {value}\n")
        for name, array in arrays.items():
            for line in lines(name, array):
                text.write(line)


def lines(name: str, array: NDArray[Any]) -> Iterator[str]:
    """A line with the array's name, type and shape, then one line for each row along its last axis, in C order."""
    shape = " ".join(map(str, array.shape))
    yield f"{name} {array.dtype.name} [{shape}]\n"
    if array.size == 0:
        return
    rows = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    for row in rows:
        yield f"{' '.join(_words(row))}\n"


def _words(row: NDArray[Any]) -> Iterator[str]:
    if row.dtype.kind == "f":
        digits = _DIGITS.get(row.dtype.name, _MOST)
        return (f"{value:.{digits}g}" for value in row.tolist())
    return map(str, map(int, row.tolist()))
