"""Checks a bundle on any machine: whether its models compute there what they should, and in which kernels. Needs
Python, numpy and onnxruntime, nothing of qdsl.

In the folder that `qdsl compile` writes beside an artifact, on the device:

    python check.py

It checks the files against bundle.json and runs the artifact on the samples there: as it runs by default against the
same file without the runtime's optimizations, which is the graph's own arithmetic, and against that arithmetic as it
was found where the artifact was compiled; and it counts the operators that really run. Nothing is timed: `bench.py`
does this and measures, too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qdsl.harness.machine import emulator, environment
from qdsl.harness.worker import RefusedError, session_of

FORMAT = 2
_FLOAT = "float"


# ---- which operators really run --------------------------------------------------------------------------------------


def operators(model: bytes) -> Counter[str]:
    """How often each operator stands in the main graph of an ONNX file (protobuf: ModelProto.graph is field 7,
    GraphProto.node field 1, NodeProto.op_type field 4)."""
    found: Counter[str] = Counter()
    for graph in _fields(memoryview(model), 7):
        for node in _fields(graph, 1):
            found.update(bytes(name).decode("utf-8", "replace") for name in _fields(node, 4))
    return found


def _fields(message: memoryview, wanted: int) -> list[memoryview]:
    """The contents of a message's length-delimited fields of one number. Raises RefusedError for what is no message."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, number = key & 7, key >> 3
        if kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise RefusedError("the optimized model is cut off")
            if number == wanted:
                found.append(message[at : at + length])
            at += length
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise RefusedError("the optimized model is no ONNX file")
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise RefusedError("the optimized model is no ONNX file")


# ---- the bundle ------------------------------------------------------------------------------------------------------


def prepared(stored: Any, steps: list[dict[str, Any]], dtype: str) -> Any:
    """Samples as they were stored, through the arithmetic steps of the recipe's `input` block, in the model's type. The
    steps work on the last axis; a picture [.., height, width, channels] is turned to [.., channels, height, width]
    after them unless its layout is nhwc."""
    import numpy as np

    values, layout = stored, None
    for step in steps:
        if step["step"] == "layout":
            layout = step["values"][0]
            continue
        numbers = np.asarray(step["values"], np.float32)
        values = values.astype(np.float32, copy=False)
        if step["step"] == "rescale":
            values = values * numbers
        else:
            values = values - numbers if step["step"] == "mean" else values / numbers
    if layout == "nchw":
        values = np.moveaxis(values, -1, -3)
    return np.ascontiguousarray(values.astype(dtype, copy=False))


class Bundle:
    """The folder of this file: bundle.json, samples, goldens, and the models."""

    def __init__(self, folder: Path) -> None:
        """Raises RefusedError for files that are missing or are not those that were written."""
        self.folder = folder
        try:
            self.said = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            if self.said["format"] != FORMAT:
                raise RefusedError(f"bundle.json has format {self.said['format']}, this script reads {FORMAT}")
            for name, sha256 in self.said["files"].items():
                found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
                if found != sha256:
                    raise RefusedError(f"{name} is not the file that this bundle was made with")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"this folder is no whole bundle: {error}") from None

    def inputs(self) -> dict[str, Any]:
        """For every input of the model an array [samples, ..]: what stands at one index is fed as it is."""
        import numpy as np

        with np.load(self.folder / "samples.npz", allow_pickle=False) as stored:
            return {
                each["name"]: prepared(stored[each["name"]], each["steps"], each["dtype"])
                for each in self.said["inputs"]
            }

    def goldens(self, build: str) -> dict[str, Any]:
        """What the machine that compiled found: for each output whose shape is always the same an array [samples, ..],
        of the first samples at least."""
        import numpy as np

        with np.load(self.folder / f"golden_{build}.npz", allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


class Checked:
    """What the models of a bundle answer on this machine, and how that compares."""

    def __init__(self, bundle: Bundle, threads: int, samples: int | None = None) -> None:
        """Run every model on the first `samples` (None: all). Raises RefusedError."""
        said = bundle.said
        self.bundle, self.threads = bundle, threads
        self.inputs = {name: array[:samples] for name, array in bundle.inputs().items()}
        self.samples = count_of(self.inputs)
        self.outputs: dict[str, dict[str, list[Any]]] = {}
        self.operators: dict[str, Counter[str]] = {}
        self._target = str(said["target"])

    def run(self, build: str) -> None:
        """Run one model as it runs by default."""
        print(f"running {build}", file=sys.stderr)
        self.outputs[build], self.operators[build] = run_all(self.bundle, build, self.inputs, self.threads)

    def found(self, most: int | None = None) -> dict[str, Any]:
        """What the comparisons say of what has run, as data; of the unoptimized model, which is slow, on `most` samples
        (None: all)."""
        ran = {build: dict(sorted(counts.items())) for build, counts in self.operators.items()}
        return {
            "environment": environment(),
            "emulated": bool(emulator()),
            "samples": self.samples,
            "goldens": {
                build: held_against(found, self.bundle.goldens(build)) for build, found in self.outputs.items()
            },
            "arithmetic": self._arithmetic(most),
            "fidelity": self._fidelity(),
            "operators": ran,
            "kernels": {
                name: [count, ran[self._target].get(name, 0)] for name, count in self.bundle.said["predicted"].items()
            },
        }

    def _fidelity(self) -> dict[str, dict[str, float | None]]:
        """By output, how the artifact agrees with the float model as its graph says (`planned_db`) and as it runs here
        (`here_db`), over the same samples: both models' goldens say the first."""
        floats, ours, ran = self.bundle.goldens(_FLOAT), self.bundle.goldens(self._target), self.outputs[self._target]
        told = {}
        for name in [name for name in ours if name in floats]:
            count = min(len(floats[name]), len(ours[name]), len(ran[name]))
            wanted = list(floats[name][:count])
            planned, here = agreement(list(ours[name][:count]), wanted), agreement(ran[name][:count], wanted)
            told[name] = {"planned_db": planned["sqnr_db"], "here_db": here["sqnr_db"]}
        return told

    def _arithmetic(self, most: int | None) -> dict[str, Any] | None:
        """The artifact as it runs against the same file without the runtime's optimizations, both here; None where
        the runtime does not run it so."""
        print(f"running {self._target} without optimizations", file=sys.stderr)
        few = {name: array[:most] for name, array in self.inputs.items()}
        try:
            written, _ = run_all(self.bundle, self._target, few, self.threads, as_written=True)
        except RefusedError as reason:
            print(f"not compared: {reason}", file=sys.stderr)
            return None
        ran, out = self.outputs[self._target], unordered(self.bundle)
        return {
            "samples": count_of(few),
            "outputs": {name: agreement(ran[name], rows) for name, rows in written.items() if name not in out},
        }


def check(bundle: Bundle, threads: int, samples: int | None = None) -> dict[str, Any]:
    """What the artifact computes here, on the first `samples`, as data. Raises RefusedError."""
    checked = Checked(bundle, threads, samples)
    checked.run(bundle.said["target"])
    return {**checked.found(), "unordered": unordered(bundle), "sums_exact": sums_exact(bundle)}


def sums_exact(bundle: Bundle) -> bool:
    """Whether the kernels are known to add products exactly here: what they compute otherwise is rounding."""
    return bool({"any", *environment().get("instructions", "").split()} & set(bundle.said.get("exact_on", ())))


def unordered(bundle: Bundle) -> dict[str, str]:
    """The outputs that are not compared, since scores choose their rows or they number things; each with why."""
    return dict(bundle.said.get("unordered", {}))


def count_of(inputs: Mapping[str, Any]) -> int:
    return min((len(array) for array in inputs.values()), default=1)


def run_all(
    bundle: Bundle, build: str, inputs: dict[str, Any], threads: int, *, as_written: bool = False
) -> tuple[dict[str, list[Any]], Counter[str]]:
    """Every output of a build for every sample, and the operators of the graph that really ran; `as_written` leaves out
    the runtime's optimizations."""
    said = bundle.said["builds"][build]
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        try:
            session = session_of(
                str(bundle.folder / said["file"]), threads, said["options"], str(optimized), as_written=as_written
            )
            names = [info.name for info in session.get_outputs()]
            feeds = ({name: array[at, ...] for name, array in inputs.items()} for at in range(count_of(inputs)))
            rows = [session.run(names, feed) for feed in feeds]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise RefusedError(
                f"ONNX Runtime does not run {said['file']}: {' '.join(str(error).split())[:300]}"
            ) from None
        ran = operators(optimized.read_bytes()) if optimized.is_file() else Counter[str]()
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}, ran


def held_against(found: dict[str, list[Any]], golden: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """By output, the agreement with the golden one, which may be of fewer or more samples. Raises RefusedError for
    another shape."""
    told = {}
    for name, stored in golden.items():
        rows = found[name][: len(stored)]
        if any(row.shape != stored.shape[1:] for row in rows):
            raise RefusedError(f"output {name} has another shape than on the machine that compiled")
        told[name] = agreement(rows, list(stored[: len(rows)]))
    return told


def agreement(found: list[Any], wanted: list[Any]) -> dict[str, float | None]:
    """Over all samples, the signal-to-noise ratio in dB (None: equal, NaN: another shape) and the largest difference.
    Infinite values and NaN are equal where they stand in both."""
    import numpy as np

    signal = noise = largest = 0.0
    for got, expected in zip(found, wanted, strict=False):
        if got.shape != expected.shape:
            return {"sqnr_db": math.nan, "max_error": math.nan}
        x, y = np.asarray(expected, np.float64), np.asarray(got, np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.where((x == y) | (np.isnan(x) & np.isnan(y)), 0.0, np.abs(x - y))
        signal += float(np.square(x, where=np.isfinite(x), out=np.zeros_like(x)).sum())
        noise += float(np.square(apart).sum())
        largest = float(np.maximum(largest, apart.max(initial=0.0)))
    return {"sqnr_db": decibels(signal, noise), "max_error": largest}


def decibels(signal: float, noise: float) -> float | None:
    """The ratio of two sums of squares: None without any noise, minus infinity where nothing of the signal is left."""
    if noise == 0:
        return None
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else (-math.inf if ratio == 0 else math.nan)


def json_ready(value: Any) -> Any:
    """The same with what is infinite or not a number as a text: JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def tell(found: Mapping[str, Any], target: str) -> None:
    """The comparisons in a few lines."""
    machine = found["environment"]
    told = f"emulated ({machine['emulator']})" if found["emulated"] else machine["processor"]
    print(f"  on {told}: {machine.get('instructions') or 'no instruction set of note'}")
    for name, (predicted, real) in found["kernels"].items():
        mark = " " if predicted == real else "!"
        print(f"{mark} {name}: {predicted} predicted, {real} here")
    written = found["arithmetic"] or {"outputs": {}}
    for name, each in written["outputs"].items():
        print(f"  {target} {name}: {ratio(each)} to the same file without optimizations, here")
    for build, outputs in found["goldens"].items():
        whose = "the graph's arithmetic" if build == target else "the machine that compiled it"
        for name, each in outputs.items():
            print(f"  {build} {name}: {ratio(each)} to {whose}")
    for name, why in found.get("unordered", {}).items():
        print(f"  {target} {name}: left out, {why}")
    for name, each in found["fidelity"].items():
        planned, here = decibel_words(each["planned_db"]), decibel_words(each["here_db"])
        print(f"  {target} {name}: {planned} to the float model as planned, {here} as this processor computes")


def ratio(found: Mapping[str, float | None]) -> str:
    return decibel_words(found["sqnr_db"])


def decibel_words(value: float | None) -> str:
    return "equal" if value is None else "not comparable" if math.isnan(value) else f"{value:.1f} dB"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check what the artifact of this bundle computes on this machine.")
    parser.add_argument("--threads", type=int, help="0: as many as ONNX Runtime takes by itself")
    parser.add_argument("--folder", type=Path, default=Path(__file__).resolve().parent, help="of another bundle")
    parser.add_argument("--samples", type=int, help="how many samples, from the first (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    args = parser.parse_args()
    try:
        bundle = Bundle(args.folder)
        threads = bundle.said["profile"]["threads"] if args.threads is None else args.threads
        found = check(bundle, threads, args.samples)
    except RefusedError as reason:
        print(f"check.py: {reason}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(json_ready(found), allow_nan=False))
    else:
        tell(found, bundle.said["target"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
