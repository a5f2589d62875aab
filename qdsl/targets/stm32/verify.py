"""Hold what an artifact's graph computes against the float model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from qdsl.data import Sample
from qdsl.diag import QdslError
from qdsl.graph import Model, save
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.targets.agreement import Agreement
from qdsl.targets.as_written import AsWritten
from qdsl.targets.results import Emitted, FloatModelError, Verification


def verify(
    model: Model, emitted: Emitted, plan: Plan, samples: Iterable[Sample], *, count: int = 8, source: str = ""
) -> Verification:
    """Compare the outputs of the artifact with those of `model` (canonical, float) on the first `count` samples. Raises
    QdslError artifact-refused, FloatModelError."""
    view = model.view()
    out = chosen_rows(view)
    totals = {name: Agreement() for name in dict.fromkeys(view.outputs) if name not in out}
    seen = 0
    with scratch() as folder:
        save(model, folder / "float.onnx")
        floats = AsWritten(folder / "float.onnx", span=emitted.span, fused=True)
        written = AsWritten(emitted.model, span=emitted.span)
        for sample in islice(samples, count):
            try:
                expected = floats.run(sample.arrays)
            except QdslError as error:
                raise FloatModelError(error.diagnostics) from None
            found = written.run(sample.arrays)
            for name, total in totals.items():
                total.add(expected[name], found[name])
            seen += 1
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
        unseen="what the C computes in integers is not looked at",
    )
