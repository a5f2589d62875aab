"""One tensor as two files: an npz for numpy, and text that any program reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    """A line with the array's name, type and shape, then its values in C order: one line for each index along the first
    axis (an output channel of a Conv), all on one line where there is no other."""
    shape = " ".join(map(str, array.shape))
    yield f"{name} {array.dtype.name} [{shape}]\n"
    if array.size == 0:
        return
    word = _word(array.dtype)
    for row in array.reshape(array.shape[0] if array.ndim > 1 else 1, -1):
        yield f"{' '.join(map(word, row.tolist()))}\n"


def _word(dtype: np.dtype[Any]) -> Callable[[Any], str]:
    """How a value is written, so that it reads back to the same bits."""
    if dtype.kind == "f":
        return f"{{:.{_DIGITS.get(dtype.name, _MOST)}g}}".format
    return "{:d}".format
