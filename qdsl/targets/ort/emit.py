"""Write the artifact for ONNX Runtime: the quantized model, its external data if it needs any, and the manifest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from qdsl.calibrate import Ranges
from qdsl.graph import Model, save
from qdsl.graph.collector import collector_paused
from qdsl.graph.edit_qdq import set_model_metadata
from qdsl.lang.recipe import InputSpec
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.quantize_dynamic import QuantizeDynamic
from qdsl.rewrite import Pass, Trace, run
from qdsl.spec.plan import AS_IT_IS, Plan
from qdsl.spec.plan_json import plan_hash
from qdsl.targets.onnx_file import MODEL_FILE, OnnxEmitted, copied, written
from qdsl.targets.ort.lowerings import lowerings
from qdsl.targets.ort.session import session_options
from qdsl.version import __version__


def emit(model: Model, plan: Plan, ranges: Ranges, out_dir: Path, *, inputs: Iterable[InputSpec] = ()) -> OnnxEmitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/ort/`; `model` stays as it is.

    `inputs` are the recipe's `input` blocks, for the manifest. Everything is written and checked aside, then renamed,
    the manifest last: a directory whose manifest matches its files is whole.
    Raises QdslError: what the inserter and the graph raise, `artifact-invalid`, `artifact-write`.
    """
    as_it_is = plan.mode == AS_IT_IS
    quantized, trace = (model, Trace()) if as_it_is else quantize(model, plan, ranges)

    def write(folder: Path) -> Sequence[Path]:
        return copied(model, folder) if as_it_is else save(quantized, folder / MODEL_FILE)

    own = {"session_options": dict(session_options(plan))}
    return written(out_dir / plan.target, model, plan, inputs, own, write, trace)


@collector_paused()
def quantize(model: Model, plan: Plan, ranges: Ranges) -> tuple[Model, Trace]:
    """A quantized copy of `model`, ready to save, and what was done to it: the pass that inserts, then the
    lowerings."""
    quantized = model.copy()
    dynamic = plan.mode == "dynamic"
    carried_out: Pass = QuantizeDynamic(plan) if dynamic else InsertQDQ(plan, ranges)
    passes: list[Pass] = [carried_out, *lowerings(plan)]
    trace = run(passes, quantized, plan=None if dynamic else plan)
    quantized.sweep()
    stamp = {"qdsl.recipe": plan.recipe, "qdsl.plan_sha256": plan_hash(plan), "qdsl.version": __version__}
    set_model_metadata(quantized, stamp)
    return quantized, trace
