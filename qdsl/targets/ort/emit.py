"""Write the artifact for ONNX Runtime: the quantized model, its external data if it needs any, and the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.lang.recipe import InputSpec
from qdsl.provenance.records import Provenance
from qdsl.rewrite import Trace
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.targets.lowerings import lowerings
from qdsl.targets.onnx_file import MODEL_FILE, OnnxEmitted, carried_out, copied, written
from qdsl.targets.ort.session import session_options


def emit(
    model: Model,
    plan: Plan,
    ranges: Ranges,
    out_dir: Path,
    *,
    inputs: Iterable[InputSpec] = (),
    provenance: Provenance | None = None,
) -> OnnxEmitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/ort/`; `model` stays as it is.

    `inputs` are the recipe's `input` blocks, for the manifest; `provenance` is written into the model's metadata, but
    for a file that is copied as it is. Everything is written and checked aside, then renamed,
    the manifest last: a directory whose manifest matches its files is whole.
    Raises QdslError: what the inserter and the graph raise, `artifact-invalid`, `artifact-write`.
    """
    as_it_is = plan.mode == AS_IT_IS
    quantized, trace = (model, Trace()) if as_it_is else quantize(model, plan, ranges)

    def write(folder: Path) -> Sequence[Path]:
        return copied(model, folder) if as_it_is else save(quantized, folder / MODEL_FILE)

    own = {"session_options": dict(session_options(plan))}
    carried = None if as_it_is else provenance
    return written(out_dir / plan.target, model, plan, inputs, own, write, trace, carried)


def quantize(model: Model, plan: Plan, ranges: Ranges) -> tuple[Model, Trace]:
    """A quantized copy of `model` as ONNX Runtime runs it best, ready to save, and what was done to it."""
    return carried_out(model, plan, ranges, lowerings(plan))
