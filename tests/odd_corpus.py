"""Takes one model file through plan and compile with the plainest recipe, and says what came of it."""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import qdsl.api
from qdsl.diag import QdslError
from qdsl.graph import load

FREE = 4  # what a free dimension becomes; the first is the batch, 1
LONGER = {"silero_vad_16k_op15.onnx": 512}  # models that pad or pool a free dimension need more
LARGEST_SAMPLE = 1 << 24
STATIC = "quantize static { weights int8 per_channel; activations uint8; calibrate minmax on calib }"
DYNAMIC = "quantize dynamic { weights 8 bit; activations uint8 }\nlayers all { weights 8 bit }"
PAIRS = "quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }"
# What is built, and for which target.
BUILDS = {"static": (STATIC, "ort"), "dynamic": (DYNAMIC, "ort"), "tensorrt": (PAIRS, "tensorrt")}
TYPES = {"float32": "f4", "float16": "f2", "float64": "f8", "bool": "?"} | {
    f"{sign}int{bits}": f"{sign[:1] or 'i'}{bits // 8}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


@dataclass
class Outcome:
    """What `plan` and `compile` gave: `plan`, `artifact`, or the codes of the diagnostics. `faults` may not be."""

    file: str
    plan: str = ""
    compile: str = ""
    headline: str = ""
    as_predicted: bool | None = None
    mismatches: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mib: float = 0.0


def examine(file: Path, name: str, folder: Path, build: str = "static") -> Outcome:
    """Plan and compile `file` in the empty `folder`; `build` is one of `BUILDS`."""
    outcome = Outcome(name)
    started = time.monotonic()
    recipe = recipe_of(file, folder, outcome, build)
    if recipe is not None:
        outcome.plan = _told(lambda: _plan(recipe), outcome)
        outcome.compile = _told(lambda: _compile(recipe, file, outcome), outcome)
        _compare(file, outcome, folder / "calib.npz")
    outcome.seconds = round(time.monotonic() - started, 1)
    outcome.peak_mib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return outcome


def _told(call: Callable[[], str], outcome: Outcome) -> str:
    """What a call gave, or the codes of its diagnostics; any other exception is a fault."""
    try:
        return call()
    except QdslError as error:
        outcome.headline = error.diagnostics[0].headline
        return " ".join(sorted({d.code for d in error.diagnostics}))
    except BaseException:
        outcome.faults.append(traceback.format_exc(limit=-6))
        return "FAULT"


def recipe_of(file: Path, folder: Path, outcome: Outcome, build: str) -> Path | None:
    """A recipe for the file and samples for its inputs; None when the model is refused already."""
    lines = ["recipe odd", f"model onnx {json.dumps(str(file))}"]
    samples: dict[str, Any] = {}

    def look() -> str:
        view = load(file).view()
        batches = {(view.tensors[name].shape or (None,))[0] for name in view.inputs}
        for input_name in view.inputs:
            tensor = view.tensors[input_name]
            dims = enumerate(tensor.shape or ())
            free = LONGER.get(file.name, FREE)
            fixed = [d if isinstance(d, int) else 1 if i == 0 or (d and d in batches) else free for i, d in dims]
            if tensor.shape and fixed != list(tensor.shape):
                lines.append(f"input {json.dumps(input_name)} {{ shape {fixed} }}")
            if tensor.dtype in TYPES and np.prod(fixed, dtype=object) < LARGEST_SAMPLE:
                samples[input_name] = _noise(fixed, TYPES[tensor.dtype])
        return ""

    outcome.plan = outcome.compile = _told(look, outcome)
    if outcome.plan:
        return None
    np.savez(folder / "calib.npz", **samples)
    lines += [
        'data calib from npz "calib.npz"',
        *(f"{word}{said}" for word, said in zip(("", "target "), BUILDS[build], strict=True)),
    ]
    (folder / "odd.q").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "odd.q"


def _noise(shape: list[int], kind: str) -> Any:
    """Two samples as rows; an input of batch 1 is one row of the array."""
    rows = [2, *shape[1:]] if shape[:1] == [1] else [2, *shape]
    draw = np.random.default_rng(3)
    values = draw.integers(0, 2, rows) if kind[0] in "iu?" else draw.random(rows) * 2 - 1
    return values.astype(kind)


def _plan(recipe: Path) -> str:
    qdsl.api.plan(recipe)
    return "plan"


def _compile(recipe: Path, file: Path, outcome: Outcome) -> str:
    result = qdsl.api.compile(recipe, out=recipe.parent / "build", workers=1)
    (target,) = result.targets
    found = target.verification
    outcome.as_predicted = found.as_predicted or not found.kernels_read  # an engine's kernels are not seen here
    outcome.mismatches = [f"{m.node} ({m.op}): predicted {m.predicted}, runs {m.real}" for m in found.mismatches]
    if _loads(file) and not _loads(target.emitted.model):
        outcome.faults.append("the artifact does not load, the float model does")
    return "artifact"


def _compare(file: Path, outcome: Outcome, samples: Path) -> None:
    """An artifact that is refused is our fault where the float model is not, by whom it may be."""
    codes = set(outcome.compile.split())
    loads = codes & {"artifact-refused", "calibration-load"} and _loads(file) and _runs(file, samples)
    if loads or ("artifact-invalid" in codes and _loads(file) and _valid(file)):
        outcome.faults.append(f"{outcome.compile}, but the float model loads: {outcome.headline}")


def _loads(file: Path) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True


def _runs(file: Path, samples: Path) -> bool:
    """Whether the model as given runs on the first sample."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        with np.load(samples) as arrays:
            rows = {i.name: arrays[i.name] for i in session.get_inputs()}
            ranks = {i.name: len(i.shape) for i in session.get_inputs()}
        session.run(None, {name: row[:1] if row.ndim == ranks[name] else row[0] for name, row in rows.items()})
    except Exception:
        return False
    return True


def _valid(file: Path) -> bool:
    try:
        onnx.checker.check_model(str(file))
    except Exception:
        return False
    return True


def report(file: Path, name: str, folder: Path, answer: Any, build: str = "static") -> None:
    """`examine` in a process of its own; the outcome goes through the pipe `answer`."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        outcome = examine(file, name, folder, build)
    answer.send(asdict(outcome))
    answer.close()
    sys.stdout.flush()
