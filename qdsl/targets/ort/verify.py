"""Run the artifact beside the float model: outputs, the worst layers, and what really runs in integers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import Any

import onnx
from numpy.typing import NDArray

from qdsl.data import Sample
from qdsl.graph import Model, save, to_proto
from qdsl.graph.chosen_rows import behind_choosers, chosen_from, chosen_rows
from qdsl.graph.saving import LARGEST_INLINE
from qdsl.graph.sessions import RuntimeRefusesError
from qdsl.graph.view import GraphView
from qdsl.spec.plan import WIDENING, Plan
from qdsl.spec.scratch import scratch
from qdsl.spec.threads import in_order, processors
from qdsl.targets.agreement import Agreement
from qdsl.targets.ort.arithmetic import Kept, arithmetic, partings
from qdsl.targets.ort.exposing import FLOAT, QUANTIZED, Arrays, Exposing, Source, refused
from qdsl.targets.ort.layers import Layer, chunks, layers, written_layers
from qdsl.targets.ort.reality import QUANTIZERS, Reality, read
from qdsl.targets.ort.session import FLOAT_PRODUCTS, session_options
from qdsl.targets.results import Emitted, Fidelity, KernelCount, Mismatch, Ran, Verification

DEFAULT_SAMPLES = 8
LAYER_SAMPLES = 2
WORST = 5
_MOST_WORKERS = 8
# `moves` speaks of nodes that copy values as they come, integers or floats: nothing they run as contradicts it.
_ANYTHING = "moves"


def verify(
    model: Model,
    emitted: Emitted,
    plan: Plan,
    samples: Iterable[Sample],
    *,
    count: int = DEFAULT_SAMPLES,
    layer_samples: int = LAYER_SAMPLES,
    reality: Reality | None = None,
    source: str = "",
    inner: Model | None = None,
) -> Verification:
    """Compare the artifact with `model` (canonical, float) on the first `count` samples.

    Layers are compared on the first `layer_samples` of them, with those of `inner`, a model that computes the same and
    was quantized in its place (channels of other ranges): those are kept in memory, the others only seen. Each run
    is on one thread, several side by side, and sums are merged in the order of the samples, so that the figures are
    the same on every call. Outputs whose rows scores choose are left out, and so is what lies behind such a choice;
    what is chosen from is compared in their place. `reality` is read from the artifact when it is not given; `source`
    says where the samples come from. Raises QdslError (artifact-refused) when ONNX Runtime does not load or run one of
    the two (FloatModelError where it loads the float model and does not run it).
    """
    view = model.view()
    out = chosen_rows(view)
    with _aside() as pool:
        reading = pool.submit(lambda: reality or read(emitted.model))
        with _sources(model, emitted, plan) as sources:
            names = [name for name in dict.fromkeys(view.outputs) if name not in out]
            outputs, kept, seen = _outputs(view, names, *sources, samples, count, layer_samples)
            chosen = _held_by_both(chosen_from(view, out), *sources)
            summing = pool.submit(arithmetic, *sources, names, chosen, kept)
            inside, inputs = inner or model, [sample.arrays for sample in kept]
            held = inside.view()
            compared = _inner(held, plan, sources[1])
            with _floats(inside) if inner is not None else nullcontext(sources[0]) as floats:
                found = _layers(held, floats, sources[1], inputs, compared)
            summed = summing.result()
            parted = tuple(partings(sources[1], compared, inputs)) if any(one.differs for one in summed) else ()
    try:
        ran = reading.result()
    except RuntimeRefusesError as error:
        raise refused(QUANTIZED, error, model.span) from None
    return Verification(
        samples=seen,
        layer_samples=len(kept),
        outputs=outputs,
        worst=_worst(found),
        kernels=_kernels(plan, ran, widened=False),
        widened=_kernels(plan, ran, widened=True),
        kernels_read=True,
        mismatches=mismatches(plan, ran),
        op_counts=tuple(sorted(ran.op_counts.items())),
        source=source,
        layers=found,
        arithmetic=summed,
        partings=parted,
        unordered=tuple(out.items()),
    )


def mismatches(plan: Plan, ran: Reality) -> tuple[Mismatch, ...]:
    """Nodes that do not run as predicted, in graph order."""
    found = []
    stored = {half.node for half in plan.halves}
    for node in plan.nodes:
        if node.op in QUANTIZERS:
            continue  # those that the model had already: `read` speaks of the others
        real = ran.nodes.get(node.node, Ran("absent", ""))
        if _removed(real):
            continue
        if real.rounded or not _agree(node.prediction.runs, real.runs, node.node in stored):
            found.append(Mismatch(node.node, node.op, _words(node.prediction), _words(real)))
    return tuple(found)


def _agree(predicted: str, real: str, stored: bool) -> bool:
    """Whether what runs is what was predicted. A node with a float16 kernel runs in it or is drawn into float32 by its
    neighbours; a model that came in float16 says nothing of it (`stored`: the plan made the node float16)."""
    if real == "float16" and not stored:
        real = "float"
    return predicted in (real, _ANYTHING) or (predicted == "float16" and real in ("float", "absorbed"))


def _removed(real: Ran) -> bool:
    """The runtime found the node to do nothing (`x - 0`, two Transposes that cancel out): nothing runs, in no type."""
    return real.runs == "absorbed" and not real.kernel


def _words(runs: Any) -> str:
    """`integer (QLinearConv)`."""
    words = f"{runs.runs} ({runs.kernel})" if runs.kernel else str(runs.runs)
    return f"{words}, its float weight rounded to integers" if getattr(runs, "rounded", False) else words


def _kernels(plan: Plan, ran: Reality, *, widened: bool) -> tuple[KernelCount, ...]:
    """Per operator of the float model: nodes predicted to run in integers, and those that do; with `widened`, those
    that multiply floats with integer weights instead. What the runtime took out of the graph runs in no type."""
    gone = {name for name, found in ran.nodes.items() if _removed(found)}
    planned = [node for node in plan.nodes if node.prediction.runs == "integer" and node.node not in gone]
    predicted = Counter(node.op for node in planned if node.prediction.float_products == widened)
    names = {node.node: node.op for node in plan.nodes if node.prediction.runs != _ANYTHING}
    running = ((name, found) for name, found in ran.nodes.items() if name in names and found.runs == "integer")
    real = Counter(names[name] for name, found in running if (found.kernel in WIDENING) == widened)
    return tuple(KernelCount(op, predicted[op], real[op]) for op in sorted(predicted | real))


def _held_by_both(names: Sequence[str], *sources: Source) -> list[str]:
    """Those of `names` that nodes of every model write."""
    written = [{name for node in source.proto.graph.node for name in node.output} for source in sources]
    return [name for name in names if all(name in held for held in written)]


def _outputs(
    view: GraphView,
    names: Sequence[str],
    reference: Source,
    quantized: Source,
    samples: Iterable[Sample],
    count: int,
    keep: int,
) -> tuple[tuple[Fidelity, ...], list[Kept], int]:
    """How the graph outputs called `names` agree, the first `keep` samples with what both write, and how many samples
    there were."""
    pair = _Pair(reference, quantized, [Layer(name, name) for name in names], inner=False)
    totals = [Agreement() for _ in names]
    kept: list[Kept] = []
    seen = 0

    def compared(item: tuple[int, Sample]) -> tuple[list[Agreement], Kept | None]:
        place, sample = item
        ran = Kept(dict(sample.arrays), *pair.run(sample.arrays))
        return pair.agreements(ran.expected, ran.ran), ran if place < keep else None

    for parts, ran in in_order(compared, enumerate(islice(samples, count)), _workers(), name="qdsl-verify"):
        seen += 1
        kept += [ran] if ran is not None else []
        for total, part in zip(totals, parts, strict=True):
            total.merge(part)
    found = zip(names, totals, strict=True)
    return tuple(total.fidelity(name, _writer(view, name)) for name, total in found), kept, seen


def _inner(view: GraphView, plan: Plan, quantized: Source) -> tuple[Layer, ...]:
    """Every tensor inside the graph that both models hold."""
    inner = [t.tensor for t in plan.tensors if t.tensor in view.tensors and _writer(view, t.tensor)]
    compared = written_layers(plan, view) if plan.mode == "dynamic" else layers(quantized.proto, inner)
    cut, behind = {each.tensor for each in plan.cuts} | _masked(view, plan), behind_choosers(view)
    return tuple(replace(layer, cut=layer.tensor in cut) for layer in compared if layer.tensor not in behind)


def _masked(view: GraphView, plan: Plan) -> set[str]:
    """Tensors with a range by hand that a Softmax alone reads: what a mask leaves below it is as good as at its end."""
    by_hand = (tensor.tensor for tensor in plan.tensors if tensor.calibration.method == "fixed")
    return {name for name in by_hand if {node.op for node in view.consumers(name)} == {"Softmax"}}


def _layers(
    view: GraphView, reference: Source, quantized: Source, kept: Sequence[Arrays], inner: Sequence[Layer]
) -> tuple[Fidelity, ...]:
    """How the tensors inside the graph agree, in graph order."""
    found = [fidelity for part in chunks(inner, view) for fidelity in _part(view, part, reference, quantized, kept)]
    places = {node.name: place for place, node in enumerate(view.nodes)}
    return tuple(sorted(found, key=lambda f: (places.get(f.node, 0), f.tensor)))


def _worst(found: Sequence[Fidelity]) -> tuple[Fidelity, ...]:
    """Those that lost most, worst first."""
    ranked = sorted((f for f in found if f.sqnr_db is not None), key=lambda f: (f.sqnr_db or 0.0, f.tensor))
    return tuple(f for f in ranked[:WORST] if f.sqnr_db != math.inf)


def _part(
    view: GraphView, part: Sequence[Layer], reference: Source, quantized: Source, kept: Sequence[Arrays]
) -> Iterator[Fidelity]:
    pair = _Pair(reference, quantized, part, inner=True)
    totals = [Agreement() for _ in part]
    # Two samples at most: whole activations are in memory.
    for parts in in_order(pair.compare, kept, min(2, _workers()), ahead=2, name="qdsl-verify"):
        for total, seen in zip(totals, parts, strict=True):
            total.merge(seen)
    for layer, total in zip(part, totals, strict=True):
        yield total.fidelity(layer.tensor, _writer(view, layer.tensor))


def _aside() -> ThreadPoolExecutor:
    """One more thread, for what can be done at the same time."""
    return ThreadPoolExecutor(1, thread_name_prefix="qdsl-verify")


def _workers() -> int:
    return min(_MOST_WORKERS, processors())


def _writer(view: GraphView, tensor: str) -> str:
    node = view.producer(tensor)
    return node.name if node is not None else ""


@contextmanager
def _sources(model: Model, emitted: Emitted, plan: Plan) -> Iterator[tuple[Source, Source]]:
    """Both models as protos whose large weights stay on disk, each with the folder that holds them."""
    proto = onnx.load(emitted.model, load_external_data=False)
    quantized = Source(proto, emitted.directory, {**FLOAT_PRODUCTS, **session_options(plan)}, model.span)
    with _floats(model) as floats:
        yield floats, quantized


@contextmanager
def _floats(model: Model) -> Iterator[Source]:
    if model.constant_bytes <= LARGEST_INLINE:
        yield Source(to_proto(model), span=model.span)
        return
    with scratch() as folder:
        path = folder / "float.onnx"
        save(model, path)
        yield Source(onnx.load(path, load_external_data=False), path.parent, span=model.span)


class _Pair:
    """Both models, and the tensors in which they are compared."""

    def __init__(self, reference: Source, quantized: Source, compared: Sequence[Layer], *, inner: bool) -> None:
        self._layers = compared
        self._names, self._doubles = [one.tensor for one in compared], [one.exposed for one in compared]
        with _aside() as pool:
            integers = pool.submit(Exposing, QUANTIZED, quantized, self._doubles if inner else ())
            self._floats = Exposing(FLOAT, reference, self._names if inner else ())
            self._integers = integers.result()

    def compare(self, arrays: Arrays) -> list[Agreement]:
        """How one sample's tensors agree. Safe from any thread."""
        return self.agreements(*self.run(arrays))

    def run(self, arrays: Arrays) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """What both write for one sample. Safe from any thread."""
        return self._floats.run(self._names, arrays), self._integers.run(self._doubles, arrays)

    def agreements(self, expected: Sequence[NDArray[Any]], got: Sequence[NDArray[Any]]) -> list[Agreement]:
        return [_agreement(*three) for three in zip(self._layers, expected, got, strict=True)]


def _agreement(layer: Layer, expected: NDArray[Any], got: NDArray[Any]) -> Agreement:
    found = Agreement()
    found.add(layer.wanted(expected), layer.values(got))
    return found
