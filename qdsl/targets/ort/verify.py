"""Run the artifact beside the float model: outputs, the worst layers, and what really runs in integers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
import onnxruntime as ort
from onnx import ModelProto, ValueInfoProto

from qdsl.data import Sample
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import Model, save, to_proto
from qdsl.graph.saving import LARGEST_INLINE
from qdsl.graph.view import GraphView
from qdsl.plan import Plan
from qdsl.targets.ort.agreement import Agreement
from qdsl.targets.ort.layers import Layer, chunks, layers, written_layers
from qdsl.targets.ort.reality import Ran, Reality, read
from qdsl.targets.ort.session import FLOAT_PRODUCTS
from qdsl.targets.results import Emitted, Fidelity, FloatModelError, KernelCount, Mismatch, Verification

DEFAULT_SAMPLES = 8
LAYER_SAMPLES = 2
WORST = 5
# `moves` speaks of nodes that copy values as they come, integers or floats: nothing they run as contradicts it.
_ANYTHING = "moves"
_FLOAT = "the float model"
Source = tuple[ModelProto, Path | None]


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
) -> Verification:
    """Compare the artifact with `model` (canonical, float) on the first `count` samples.

    Layers are compared on the first `layer_samples` of them: those are kept in memory, the others only seen. Both
    models run on one thread, so that the figures are the same on every call. `reality` is read from the artifact when
    it is not given; `source` says where the samples come from. Raises QdslError (artifact-refused) when ONNX Runtime
    does not load or run one of the two (FloatModelError where it loads the float model and does not run it).
    """
    view = model.view()
    with _sources(model, emitted) as (reference, quantized):
        outputs, kept, seen = _outputs(view, reference, quantized, samples, count, layer_samples)
        found = _layers(view, plan, reference, quantized, kept)
    try:
        ran = reality or read(emitted.model)
    except Exception as error:
        raise _refused("the quantized model", error) from None
    return Verification(
        samples=seen,
        layer_samples=len(kept),
        outputs=outputs,
        worst=_worst(found),
        kernels=_kernels(plan, ran),
        mismatches=mismatches(plan, ran),
        op_counts=tuple(sorted(ran.op_counts.items())),
        source=source,
        layers=found,
    )


def mismatches(plan: Plan, ran: Reality) -> tuple[Mismatch, ...]:
    """Nodes that do not run as predicted, in graph order."""
    found = []
    stored = {half.node for half in plan.halves}
    for node in plan.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            continue  # those that the float model had already: `read` speaks of the others
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


def _kernels(plan: Plan, ran: Reality) -> tuple[KernelCount, ...]:
    """Per operator of the float model: nodes predicted to run in integers, and those that do."""
    predicted = Counter(node.op for node in plan.nodes if node.prediction.runs == "integer")
    names = {node.node: node.op for node in plan.nodes if node.prediction.runs != _ANYTHING}
    real = Counter(names[name] for name, found in ran.nodes.items() if name in names and found.runs == "integer")
    return tuple(KernelCount(op, predicted[op], real[op]) for op in sorted(predicted | real))


def _outputs(
    view: GraphView, reference: Source, quantized: Source, samples: Iterable[Sample], count: int, keep: int
) -> tuple[tuple[Fidelity, ...], list[Mapping[str, Any]], int]:
    """How the graph outputs agree, and the inputs of the first `keep` samples."""
    pair = _Session(_FLOAT, reference), _Session("the quantized model", quantized)
    names = list(dict.fromkeys(view.outputs))
    sums = {name: Agreement() for name in names}
    kept: list[Mapping[str, Any]] = []
    seen = 0
    iterator = iter(samples)
    while seen < count and (sample := next(iterator, None)) is not None:
        seen += 1
        if len(kept) < keep:
            kept.append(dict(sample.arrays))
        for name, expected, got in zip(names, *(one.run(names, sample.arrays) for one in pair), strict=True):
            sums[name].add(expected, got)
    return tuple(sums[name].fidelity(name, _writer(view, name)) for name in names), kept, seen


def _layers(
    view: GraphView, plan: Plan, reference: Source, quantized: Source, kept: Sequence[Mapping[str, Any]]
) -> tuple[Fidelity, ...]:
    """Every tensor inside the graph that both models hold, in graph order."""
    inner = [t.tensor for t in plan.tensors if t.tensor in view.tensors and _writer(view, t.tensor)]
    compared = written_layers(plan, view) if plan.mode == "dynamic" else layers(quantized[0], inner)
    found = [fidelity for part in chunks(compared, view) for fidelity in _part(view, part, reference, quantized, kept)]
    places = {node.name: place for place, node in enumerate(view.nodes)}
    return tuple(sorted(found, key=lambda f: (places.get(f.node, 0), f.tensor)))


def _worst(found: Sequence[Fidelity]) -> tuple[Fidelity, ...]:
    """Those that lost most, worst first."""
    ranked = sorted((f for f in found if f.sqnr_db is not None), key=lambda f: (f.sqnr_db or 0.0, f.tensor))
    return tuple(f for f in ranked[:WORST] if f.sqnr_db != math.inf)


def _part(
    view: GraphView,
    part: Sequence[Layer],
    reference: Source,
    quantized: Source,
    kept: Sequence[Mapping[str, Any]],
) -> Iterator[Fidelity]:
    names, doubles = [layer.tensor for layer in part], [layer.exposed for layer in part]
    floats = _Session(_FLOAT, reference, expose=names)
    integers = _Session("the quantized model", quantized, expose=doubles)
    sums = [Agreement() for _ in part]
    for arrays in kept:
        expected, got = floats.run(names, arrays), integers.run(doubles, arrays)
        for i, layer in enumerate(part):
            sums[i].add(expected[i], layer.values(got[i]))
    for layer, total in zip(part, sums, strict=True):
        yield total.fidelity(layer.tensor, _writer(view, layer.tensor))


def _writer(view: GraphView, tensor: str) -> str:
    node = view.producer(tensor)
    return node.name if node is not None else ""


@contextmanager
def _sources(model: Model, emitted: Emitted) -> Iterator[tuple[Source, Source]]:
    """Both models as protos whose large weights stay on disk, each with the folder that holds them."""
    quantized = onnx.load(emitted.model, load_external_data=False), emitted.directory
    if model.constant_bytes <= LARGEST_INLINE:
        yield (to_proto(model), None), quantized
        return
    with TemporaryDirectory(prefix="qdsl-") as folder:
        path = Path(folder) / "float.onnx"
        save(model, path)
        yield (onnx.load(path, load_external_data=False), path.parent), quantized


class _Session:
    """One model in ONNX Runtime, with some of its inner tensors as outputs."""

    def __init__(self, what: str, source: Source, expose: Sequence[str] = ()) -> None:
        proto, folder = source
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        for option, value in FLOAT_PRODUCTS.items():
            options.add_session_config_entry(option, value)
        if folder is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        self._what = what
        try:
            data = _exposed(proto, expose)
            self._session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise _refused(what, error) from None
        self._inputs = [info.name for info in self._session.get_inputs()]

    def run(self, names: Sequence[str], arrays: Mapping[str, Any]) -> list[Any]:
        try:
            found: list[Any] = self._session.run(list(names), {name: arrays[name] for name in self._inputs})
        except Exception as error:
            refused = _refused(self._what, error)
            raise FloatModelError(refused.diagnostics) if self._what == _FLOAT else refused from None
        return found


def _exposed(proto: ModelProto, names: Sequence[str]) -> bytes:
    """The model's bytes with more outputs; ONNX Runtime infers their types."""
    had = len(proto.graph.output)
    public = {info.name for info in proto.graph.output}
    proto.graph.output.extend(ValueInfoProto(name=name) for name in names if name not in public)
    data: bytes = proto.SerializeToString()
    del proto.graph.output[had:]
    return data


def _refused(what: str, error: Exception) -> QdslError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return QdslError([Diagnostic("artifact-refused", f"ONNX Runtime refuses {what}", label=reason)])
