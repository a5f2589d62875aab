"""Inputs and golden outputs beside an emitted model, to hold an engine against: arrays, also as polygraphy reads them.

The JSON is polygraphy's (0.53.6, Apache-2.0): `inputs.json` is a list of feeds for `--load-inputs`, `golden.json` the
RunResults of one runner for `--load-outputs`. An array stands in it as the base64 of an npy file. In `inputs.npz` and
`golden.npz` the array of input or output `x` of sample 2 is called `2:x`, a name with anything but letters, digits and
`._-~` percent-encoded.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

INPUTS_JSON, INPUTS_NPZ, GOLDEN_JSON, GOLDEN_NPZ = "inputs.json", "inputs.npz", "golden.json", "golden.npz"
FILES = (INPUTS_JSON, INPUTS_NPZ, GOLDEN_JSON, GOLDEN_NPZ)
MOST_SAMPLES = 2
MOST_BYTES = 64 << 20
_AROUND = 1024  # bytes around one array: its name, and the headers of npy and zip
RUNNER = "qdsl-onnxruntime"

# How far the mean of an output's values may lie from the golden ones, as a part of the largest of them: what int8
# kernels round otherwise stays below it, a wrong scale or a layer that is skipped does not.
TOLERANCE = 0.02
_LEAST = 1e-6

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class GoldenSample:
    """The arrays of one sample, and what the emitted graph makes of them; both by name."""

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True, slots=True)
class Golden:
    """What was written. `samples` is how many; `tolerances` by output: the mean absolute error to stay below."""

    samples: int = 0
    tolerances: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def write_golden(folder: Path, samples: Iterable[GoldenSample], most: int = MOST_BYTES) -> Golden:
    """Write the first samples into `folder`, at most MOST_SAMPLES of them, and no more than the four files hold in
    `most` bytes; the first one whatever its size. Without samples nothing is written. Raises OSError."""
    kept = _few(samples, most)
    if not kept:
        return Golden()
    feeds = [{name: _array(array) for name, array in sample.inputs.items()} for sample in kept]
    results = [
        {
            "outputs": {
                name: {"values": _array(array), "polygraphy_class": "LazyArray"}
                for name, array in sample.outputs.items()
            },
            "runtime": None,
            "runner_name": RUNNER,
            "polygraphy_class": "IterationResult",
        }
        for sample in kept
    ]
    _write_json(folder / INPUTS_JSON, feeds)
    _write_json(folder / GOLDEN_JSON, {"lst": [[RUNNER, results]], "polygraphy_class": "RunResults"})
    _write_npz(folder / INPUTS_NPZ, [sample.inputs for sample in kept])
    _write_npz(folder / GOLDEN_NPZ, [sample.outputs for sample in kept])
    files = tuple(folder / name for name in FILES)
    return Golden(len(kept), tolerances([sample.outputs for sample in kept]), files)


def tolerances(outputs: Sequence[Arrays]) -> dict[str, float]:
    """By output: TOLERANCE of its largest finite absolute value, rounded up to two digits so that it reads well."""
    return {name: _two_digits(_largest([each[name] for each in outputs])) for name in outputs[0]}


def _largest(arrays: Sequence[NDArray[Any]]) -> float:
    values = [np.abs(array[np.isfinite(array)].astype(np.float64)) for array in map(stored, arrays)]
    return max((float(each.max()) for each in values if each.size), default=0.0)


def _two_digits(largest: float) -> float:
    value = max(_LEAST, TOLERANCE * largest)
    digits = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(f"{np.ceil(value / digits) * digits:.2g}")


def _few(samples: Iterable[GoldenSample], most: int) -> list[GoldenSample]:
    kept: list[GoldenSample] = []
    room = most
    for sample in islice(samples, MOST_SAMPLES):
        room -= _cost(sample)
        if kept and room < 0:
            break
        kept.append(sample)
    return kept


def _cost(sample: GoldenSample) -> int:
    """Bytes of one sample in the four files: once as it is, once in base64, where 3 bytes become 4; with headers."""
    arrays = [*sample.inputs.values(), *sample.outputs.values()]
    return sum(array.nbytes + 4 * -(-array.nbytes // 3) + _AROUND for array in arrays)


def stored(array: NDArray[Any]) -> NDArray[Any]:
    """The array as every numpy reads it: types that are not numpy's own (bfloat16, float8) as float32."""
    return np.ascontiguousarray(array if array.dtype.kind in "biuf" else array.astype(np.float32)).reshape(array.shape)


def _array(array: NDArray[Any]) -> dict[str, str]:
    file = io.BytesIO()
    np.lib.format.write_array(file, stored(array), allow_pickle=False)
    return {"array": base64.b64encode(file.getvalue()).decode("ascii"), "polygraphy_class": "ndarray"}


def _write_json(path: Path, found: Any) -> None:
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")


def _write_npz(path: Path, samples: Sequence[Arrays]) -> None:
    """Not np.savez: an array may be called `file`, and a name may hold what a path must not."""
    with zipfile.ZipFile(path, "w") as archive:
        for number, arrays in enumerate(samples):
            for name, array in arrays.items():
                with archive.open(f"{number}:{quote(name, safe='')}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, stored(array), allow_pickle=False)
