"""Hold what an artifact computes, to the bit, against the float model, its C against that, and what runs against the
plan."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from qdsl.data import Sample
from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.graph import Model, save
from qdsl.graph.chosen_rows import chosen_rows
from qdsl.integer.records import IntegerGraph
from qdsl.spec.plan import Plan
from qdsl.spec.scratch import scratch
from qdsl.spec.words import plain
from qdsl.targets.agreement import Agreement
from qdsl.targets.as_written import AsWritten
from qdsl.targets.onnx_file import unwritable
from qdsl.targets.results import Emitted, FloatModelError, NotHere, Verification
from qdsl.targets.stm32 import reality
from qdsl.targets.stm32.asked import asked
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.writing import CFiles
from qdsl.targets.stm32.emit import C_FOLDER
from qdsl.targets.stm32.golden import Arrays, Golden
from qdsl.targets.stm32.making import integer_graph
from qdsl.targets.stm32.manifest import memory_on, read_c
from qdsl.targets.stm32.on_core import on_core
from qdsl.targets.stm32.run import golden as golden_of
from qdsl.targets.stm32.st import package as st

# Of the largest value of an output: what kernels that compute in floats may differ by, since sums have another order.
_FLOAT_STEP = 1e-5
NO_STEPS = CFiles(Path(), (), 0, 0, 0, "", (), ())  # what is asked of them: none


def verify(
    model: Model, emitted: Emitted, plan: Plan, samples: Iterable[Sample], *, count: int = 8, source: str = ""
) -> Verification:
    """Compare what the artifact's integer graph answers with what `model` (canonical, float) does on the first `count`
    samples, and its C, built for this machine where it has a compiler and for an emulated core where that is here, with
    the integer graph. The samples go beside what ST's tool is given. Raises QdslError artifact-refused, artifact-write,
    stm32-no-form, artifact-invalid, FloatModelError, and what `on_core` raises."""
    view = model.view()
    out = chosen_rows(view)
    totals = {name: Agreement() for name in dict.fromkeys(view.outputs) if name not in out}
    golden = golden_of(emitted)
    seen: list[Arrays] = []
    answers: list[Arrays] = []
    with scratch() as folder:
        save(model, folder / "float.onnx")
        floats = AsWritten(folder / "float.onnx", span=emitted.span, fused=True)
        for sample in islice(samples, count):
            try:
                expected = floats.run(sample.arrays)
            except QdslError as error:
                raise FloatModelError(error.diagnostics) from None
            found = golden.run(sample.arrays)
            for name, total in totals.items():
                total.add(expected[name], found[name])
            seen.append(sample.arrays)
            answers.append(found)
    try:
        st.add_samples(emitted.directory / st.FOLDER, asked(plan), seen, answers)
    except OSError as error:
        raise unwritable(emitted.directory, error) from None
    graph = integer_graph(onnx.load(emitted.model), plan.recipe, asked(plan), emitted.span)
    _hold_c(graph, Golden(graph, asked(plan).rounding, span=emitted.span), emitted, seen)
    core = on_core(emitted, graph, asked(plan), seen)
    writers = {name: node.name if (node := view.producer(name)) is not None else "" for name in totals}
    real = reality.computed(graph)
    said = read_c(emitted.manifest)
    return Verification(
        samples=len(seen),
        layer_samples=0,
        outputs=tuple(total.fidelity(name, writers[name]) for name, total in totals.items()),
        worst=(),
        kernels=reality.kernels(plan, real),
        mismatches=reality.mismatches(plan, real),
        op_counts=reality.counts(graph),
        source=source,
        kernels_read=True,
        unordered=tuple(out.items()),
        emulated=None if isinstance(core, NotHere) else core,
        not_emulated=core.why if isinstance(core, NotHere) else "",
        memory=memory_on(said, asked(plan).board),
        arena=said.memory,
        macc=said.macc,
    )


def _hold_c(graph: IntegerGraph, golden: Golden, emitted: Emitted, samples: Sequence[Arrays]) -> None:
    """Raises QdslError artifact-invalid where the C answers otherwise than the graph it was made of."""
    cc = host.compiler()
    if cc is None or not samples:
        return
    feeds = [golden.feeds(arrays) for arrays in samples]
    with scratch() as folder:
        try:
            host.build(emitted.directory / C_FOLDER, folder / "network", cc=cc)
            ran = host.run(folder / "network", NO_STEPS, graph, feeds).outputs
        except (OSError, subprocess.SubprocessError) as error:
            raise _differs("the C does not run on this machine", _told(error), emitted.span) from None
    for number, (sample, outputs) in enumerate(zip(feeds, ran, strict=True), 1):
        for name, expected in golden.run_stored(sample).items():
            if not _agree(graph, expected, outputs[name]):
                headline = f"the C computes `{plain(name[:80])}` otherwise than the graph that it was made of"
                raise _differs(headline, f"first on sample {number}", emitted.span)


def _agree(graph: IntegerGraph, expected: NDArray[Any], found: NDArray[Any]) -> bool:
    """To the bit, but for what floats are summed up to."""
    if expected.tobytes() == found.tobytes():
        return True
    if all(real.runs == reality.INTEGER for real in reality.computed(graph).values()) or expected.dtype != np.float32:
        return False
    apart = np.abs(expected.astype(np.float64) - found)
    return bool(np.all(apart <= _FLOAT_STEP * max(1e-30, float(np.abs(expected).max(initial=0)))))


def _told(error: Exception) -> str:
    said = getattr(error, "stderr", None) or str(error) or type(error).__name__
    return plain(str(said).strip().splitlines()[0][:300])


def _differs(headline: str, label: str, span: Span | None) -> QdslError:
    cures = ("report this with the recipe: no model may make it so",)
    return QdslError([Diagnostic("artifact-invalid", headline, span, label, cures)])
