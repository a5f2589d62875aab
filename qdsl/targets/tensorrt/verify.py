"""Hold what an artifact's graph computes, in ONNX Runtime and unfused, against the float model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from qdsl.data import Sample
from qdsl.diag import QdslError
from qdsl.graph import Model, save
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.targets.agreement import Agreement
from qdsl.targets.as_written import AsWritten
from qdsl.targets.results import Emitted, FloatModelError, Verification
from qdsl.targets.tensorrt.golden import MOST_SAMPLES, GoldenSample
from qdsl.targets.tensorrt.standing import stand


def verify(
    model: Model, emitted: Emitted, plan: Plan, samples: Iterable[Sample], *, count: int = 8, source: str = ""
) -> Verification:
    """Compare the outputs of the artifact with those of `model` (canonical, float) on the first `count` samples, and
    write the first of them beside it with its outputs, to hold an engine against. Which kernels an engine runs is not
    known here. Raises QdslError artifact-refused, artifact-write, FloatModelError."""
    view = model.view()
    out = chosen_rows(view)
    totals = {name: Agreement() for name in dict.fromkeys(view.outputs) if name not in out}
    seen = 0
    golden: list[GoldenSample] = []
    with scratch() as folder:
        save(model, folder / "float.onnx")
        floats = AsWritten(folder / "float.onnx", span=emitted.span, fused=True)
        written = AsWritten(emitted.model, 1, span=emitted.span)  # one thread: the same bits on every call
        for sample in islice(samples, count):
            expected, found = _floats(floats, sample), written.run(sample.arrays)
            for name, total in totals.items():
                total.add(expected[name], found[name])
            seen += 1
            if len(golden) < MOST_SAMPLES:
                golden.append(GoldenSample(sample.arrays, found))
    if golden:
        stand(emitted.model, model=model, samples=golden, span=emitted.span)
    writers = {name: node.name if (node := view.producer(name)) is not None else "" for name in totals}
    return Verification(
        samples=seen,
        layer_samples=0,
        outputs=tuple(total.fidelity(name, writers[name]) for name, total in totals.items()),
        worst=(),
        kernels=(),
        mismatches=(),
        op_counts=getattr(emitted, "counts", ()),
        source=source,
        unordered=tuple(out.items()),
        unseen="an engine on its GPU tells them (README.md beside the model), TensorRT-RTX on a CPU by `--check rtx`",
    )


def _floats(runner: AsWritten, sample: Sample) -> Mapping[str, Any]:
    try:
        return runner.run(sample.arrays)
    except QdslError as error:
        raise FloatModelError(error.diagnostics) from None
