"""Samples beside the package, for `validate`: an array per input and output, in the form of the model's tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
_MOST_BYTES = 64 << 20


def write_samples(folder: Path, order: Sequence[str], samples: Sequence[Arrays], kind: str) -> tuple[str, ...]:
    """Write `<kind>_1.npy`, `<kind>_2.npy`, .. into `folder`: of each name in `order` the arrays of all samples, one
    after the other along their first axis, as float32; the names of the files. Nothing without samples, or where they
    are more than 64 MiB. Raises OSError."""
    joined = [np.concatenate([np.asarray(each[name], np.float32) for each in samples]) for name in order if samples]
    if not joined or sum(array.nbytes for array in joined) > _MOST_BYTES:
        return ()
    names = tuple(f"{kind}_{number}.npy" for number in range(1, len(joined) + 1))
    for name, array in zip(names, joined, strict=True):
        np.save(folder / name, array)
    return names
