"""Write the artifact for STM32: the quantized model and, of it, C."""

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


def emit(
    model: Model,
    plan: Plan,
    ranges: Ranges,
    out_dir: Path,
    *,
    inputs: Iterable[InputSpec] = (),
    provenance: Provenance | None = None,
) -> OnnxEmitted:
    """Carry out `plan` on a copy of `model` (canonical, float) and write `<out_dir>/stm32/`; `model` stays as it is.
    Raises QdslError: what the inserter and the graph raise, `artifact-invalid`, `artifact-write`."""
    as_it_is = plan.mode == AS_IT_IS
    quantized, trace = (model, Trace()) if as_it_is else carried_out(model, plan, ranges, lowerings(plan))

    def write(folder: Path) -> Sequence[Path]:
        return copied(model, folder) if as_it_is else save(quantized, folder / MODEL_FILE)

    carried = None if as_it_is else provenance
    return written(out_dir / plan.target, model, plan, inputs, {}, write, trace, carried)
