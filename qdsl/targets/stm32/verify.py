"""Hold what an artifact computes, to the bit, against the float model, its C against that, and what runs against the
plan."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import onnx

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
from qdsl.targets.stm32.emit import C_FOLDER
from qdsl.targets.stm32.emulated.cmsis_nn import Checkout
from qdsl.targets.stm32.golden import Arrays, Golden
from qdsl.targets.stm32.holding import compared, holds
from qdsl.targets.stm32.making import integer_graph
from qdsl.targets.stm32.manifest import memory_on, read_c
from qdsl.targets.stm32.on_core import called, on_core
from qdsl.targets.stm32.run import golden as golden_of
from qdsl.targets.stm32.st import package as st


def verify(
    model: Model, emitted: Emitted, plan: Plan, samples: Iterable[Sample], *, count: int = 8, source: str = ""
) -> Verification:
    """Compare what the artifact's integer graph answers with what `model` (canonical, float) does on the first `count`
    samples, and its C, built for this machine where it has a compiler and for an emulated core where that is here, with
    the integer graph. The samples go beside what ST's tool is given. Raises QdslError artifact-refused, artifact-write,
    stm32-no-form, artifact-invalid, cmsis-nn-unfit, FloatModelError, and what `on_core` raises."""
    view, wanted = model.view(), asked(plan)
    out = chosen_rows(view)
    totals = {name: Agreement() for name in dict.fromkeys(view.outputs) if name not in out}
    seen = [sample.arrays for sample in islice(samples, count)]
    answers = _beside_floats(model, emitted, seen, totals)
    try:
        st.add_samples(emitted.directory / st.FOLDER, wanted, seen, answers)
    except OSError as error:
        raise unwritable(emitted.directory, error) from None
    graph = integer_graph(onnx.load(emitted.model), plan.recipe, wanted, emitted.span)
    library = called(wanted, emitted.span)
    golden = Golden(graph, wanted.rounding, span=emitted.span)
    held = not isinstance(library, NotHere) and _hold_c(graph, golden, emitted, seen, library)
    core = on_core(emitted, graph, wanted, seen)
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
        not_emulated=_unseen(core, held) if isinstance(core, NotHere) else "",
        memory=memory_on(said, wanted.board),
        arena=said.memory,
        macc=said.macc,
    )


def _beside_floats(
    model: Model, emitted: Emitted, samples: Iterable[Arrays], totals: Mapping[str, Agreement]
) -> list[Arrays]:
    """What the integer graph answers on each sample, added to `totals` beside what the float model does."""
    golden = golden_of(emitted)
    answers: list[Arrays] = []
    with scratch() as folder:
        save(model, folder / "float.onnx")
        floats = AsWritten(folder / "float.onnx", span=emitted.span, fused=True)
        for arrays in samples:
            try:
                expected = floats.run(arrays)
            except QdslError as error:
                raise FloatModelError(error.diagnostics) from None
            answers.append(golden.run(arrays))
            for name, total in totals.items():
                total.add(expected[name], answers[-1][name])
    return answers


def _hold_c(
    graph: IntegerGraph, golden: Golden, emitted: Emitted, samples: Sequence[Arrays], library: Checkout | None
) -> bool:
    """Whether there was a compiler, and a sample, to hold the C by. Raises QdslError artifact-invalid where it answers
    otherwise than the graph it was made of, cmsis-nn-unfit where it does not go with the `library` that it calls."""
    cc = host.compiler()
    if cc is None or not samples:
        return False
    feeds = [golden.feeds(arrays) for arrays in samples]
    with scratch() as folder:
        try:
            linked = [str(library.archive((cc,), folder))] if library else []
            known = library.include if library else ()
            host.build(emitted.directory / C_FOLDER, folder / "network", cc=cc, more=known, linked=linked)
        except (OSError, subprocess.SubprocessError) as error:
            if library is not None:
                raise library.unfit("the C that calls it is not compiled", _all_told(error)) from None
            raise _differs(f"{Path(cc).name} does not compile the C", _told(error), emitted.span, _BROKEN) from None
        try:
            ran = host.run(folder / "network", graph, feeds).outputs
        except (OSError, subprocess.SubprocessError) as error:
            if library is not None and getattr(error, "returncode", None) == host.UNFIT:
                raise library.unfit(_MORE) from None
            raise _differs("the C does not run on this machine", _told(error), emitted.span) from None
    for number, (sample, outputs) in enumerate(zip(feeds, ran, strict=True), 1):
        for name, expected in golden.run_stored(sample).items():
            if not holds(graph, expected, compared(expected, outputs[name])):
                headline = f"the C computes `{plain(name[:80])}` otherwise than the graph that it was made of"
                raise _differs(headline, f"first on sample {number}", emitted.span)
    return True


def _unseen(core: NotHere, held: bool) -> str:
    """Why the C did not run on an emulated core, and whether it ran at all."""
    if not held:
        return f"{core.why}; it did not run on this machine, either"
    return f"{core.why}; built for this machine, it answers what its integer graph does"


def _told(error: Exception) -> str:
    """The first line of what a compiler or a program said, or of the error."""
    lines = _all_told(error).splitlines()
    return plain((lines or [type(error).__name__])[0][:300])


def _all_told(error: Exception) -> str:
    return f"{getattr(error, 'stderr', None) or ''}\n{error}".strip()


_MORE = "it asks for more scratch than its sources of 2022 to 2026 do, or refuses a layer"
_OURS = "report this with the recipe: no model may make it so"
_BROKEN = "see whether it compiles anything: `qdsl doctor --target stm32`; if it does, report this with the recipe"


def _differs(headline: str, label: str, span: Span | None, cure: str = _OURS) -> QdslError:
    return QdslError([Diagnostic("artifact-invalid", headline, span, label, (cure,))])
