"""Whose words a finished file speaks, and in which form: told by what the producer, the metadata, the domains and the
names in the file show, never by what it computes. Several may be there at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from qdsl.finished.records import Dialect, Form
from qdsl.finished.work import Work
from qdsl.graph.view import NodeView

_QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.channels_last")
_QUARK = ("com.amd.quark", "com.vai.quantize")
_PRODUCER = "onnx.quantize"  # of onnxruntime, and of ModelOpt


class _Shown:
    """What a file shows of where it comes from."""

    def __init__(self, work: Work) -> None:
        self.work = work
        shell = work.model.shell
        self.producer = str(shell.producer_name)
        self.version = str(shell.producer_version)
        self.metadata = {prop.key: prop.value for prop in shell.metadata_props}
        self.records = [record for _, record in work.found]

    @cached_property
    def writers(self) -> list[NodeView]:
        """The nodes that quantize or dequantize, in the order of the records."""
        names = dict.fromkeys(name for each in self.records for name in (*each.quantizers, *each.dequantizers))
        return [self.work.view.node(name) for name in names]

    @cached_property
    def domains(self) -> dict[str, NodeView]:
        """The first node of each domain."""
        found: dict[str, NodeView] = {}
        for node in self.work.view.nodes:
            found.setdefault(node.domain, node)
        return found

    def form(self, form: Form) -> int:
        return sum(record.form is form for record in self.records)

    def op(self, asked: Callable[[NodeView], bool]) -> NodeView | None:
        return next((node for node in self.work.view.nodes if asked(node)), None)

    def produced(self, *starts: str) -> str:
        """The producer where it begins so: "tf2onnx 1.17.0"; else ""."""
        return f"{self.producer[:80]} {self.version[:40]}".strip() if self.producer.startswith(starts) else ""


def dialects(work: Work) -> tuple[Dialect, ...]:
    """The tools, then the forms; nothing where nothing is quantized."""
    shown = _Shown(work)
    if not shown.records:
        return ()
    return tuple(Dialect(name, because) for name, find in (*_TOOLS, *_FORMS) if (because := find(shown)))


# --- tools ------------------------------------------------------------------------------------------------------------


def _qdsl(shown: _Shown) -> str:
    key = next((key for key in shown.metadata if key.startswith("qdsl.")), "")
    if key:
        return f"metadata `{key}` of the model"
    marked = next((node.name for node in shown.writers if shown.work.origin(node.name)), "")
    return f"metadata `qdsl.origin` of `{marked}`" if marked else ""


def _onnxruntime(shown: _Shown) -> str:
    if shown.metadata.get("onnx.infer") == "onnxruntime.quant" and not _quark(shown):
        return "metadata `onnx.infer` is `onnxruntime.quant`"
    if shown.producer == _PRODUCER and not _modelopt(shown):
        return f"producer {shown.produced(_PRODUCER)}"
    fused = shown.op(
        lambda node: node.domain == "com.microsoft" and node.op.startswith(("QLinear", "DynamicQ", "QGemm"))
    )
    return f"operator {fused.op} of com.microsoft" if fused is not None else ""


def _modelopt(shown: _Shown) -> str:
    own = shown.op(lambda node: node.domain == "trt" or node.op.startswith("TRT_"))
    if own is not None and own.op.startswith("TRT_"):
        return f"operator {own.op}"
    if "modelopt" in shown.producer.lower():
        return f"producer {shown.produced(shown.producer)}"
    in_pairs = shown.form(Form.FLOAT_PAIR)
    if shown.producer == _PRODUCER and "onnx.infer" not in shown.metadata and in_pairs:
        return f"producer {shown.produced(_PRODUCER)} without `onnx.infer`, {in_pairs} float weights in pairs"
    return ""


def _nncf(shown: _Shown) -> str:
    if "nncf" in shown.producer.lower() or any("nncf" in key.lower() for key in shown.metadata):
        return "its producer or metadata names it"
    named = next((n for n in shown.writers if n.op == "DequantizeLinear" and _is_nncf(n)), None)
    return f"names of `{named.name[:80]}` and its tensors" if named is not None else ""


def _is_nncf(node: NodeView) -> bool:
    tensors = (node.inputs[0].startswith("q_output_"), node.outputs[0].startswith("dq_output_"))
    return all(tensors) and node.name.startswith("DequantizeLinear_")


def _quark(shown: _Shown) -> str:
    if shown.produced("quark"):
        return f"producer {shown.produced('quark')}"
    domain = next((domain for domain in _QUARK if domain in shown.domains), "")
    return f"operators of {domain}" if domain else ""


def _aimet(shown: _Shown) -> str:
    producer = shown.metadata.get("producer", "")
    if producer.startswith("aimet"):
        return f"metadata `producer` is `{producer[:80]}`"
    named = next((node.name for node in shown.writers if "QcQuantizeOp" in node.name or "QcQuantize" in node.op), "")
    return f"name of `{named[:80]}`" if named else ""


def _brevitas(shown: _Shown) -> str:
    named = next(
        (name for node in shown.writers for name in node.inputs if ".export_handler." in name and "quant" in name), ""
    )
    if named:
        return f"name of tensor `{named[:80]}`"
    return "operators of onnx.brevitas" if "onnx.brevitas" in shown.domains else ""


def _torch(shown: _Shown) -> str:
    return f"producer {shown.produced('pytorch')}" if shown.produced("pytorch") else ""


def _tflite(shown: _Shown) -> str:
    return f"producer {shown.produced('tf2onnx')}" if shown.produced("tf2onnx") else ""


def _openvino(shown: _Shown) -> str:
    found = shown.op(lambda node: node.op == "FakeQuantize")
    return f"operator FakeQuantize of {found.domain or 'no domain'}" if found is not None else ""


# --- forms ------------------------------------------------------------------------------------------------------------


def _qonnx(shown: _Shown) -> str:
    domain = next((domain for domain in _QONNX if domain in shown.domains), "")
    return f"operator {shown.domains[domain].op} of {domain}" if domain else ""


def _pact(shown: _Shown) -> str:
    found = next((node for node in shown.writers if node.op in ("Round", "Floor") and not node.domain), None)
    return f"`{found.name[:80]}` rounds floats between a scale and its inverse" if found is not None else ""


def _qdq(shown: _Shown) -> str:
    forms = (Form.PAIR, Form.STORED, Form.FLOAT_PAIR, Form.LONE_QUANTIZE, Form.LONE_DEQUANTIZE)
    count = sum(node.op.endswith(("QuantizeLinear", "DequantizeLinear")) for node in shown.writers)
    return f"QuantizeLinear and DequantizeLinear: {count}" if any(shown.form(form) for form in forms) else ""


def _qoperator(shown: _Shown) -> str:
    return _of_ops(shown, lambda node: node.op.startswith("QLinear") or node.op in ("QGemm", "QAttention"))


def _dynamic(shown: _Shown) -> str:
    return _of_ops(shown, lambda node: node.op.startswith("DynamicQuantize"))


def _weight_only(shown: _Shown) -> str:
    ops = ("MatMulNBits", "GatherBlockQuantized", "MatMulBnb4", "MatMulFpQ4", "QMoE")
    found = _of_ops(shown, lambda node: node.op in ops)
    if found:
        return found
    activations = [record for record in shown.records if not record.stored]
    return "" if activations else "weights in integers, no activation"


def _microsoft(shown: _Shown) -> str:
    found = [node for node in shown.writers if node.domain == "com.microsoft" and node.op.endswith("uantizeLinear")]
    return f"`{found[0].name[:80]}` is {found[0].op} of com.microsoft" if found else ""


def _constants(shown: _Shown) -> str:
    view = shown.work.view
    found = next((each for each in shown.records if each.stored and view.producer(each.stored) is not None), None)
    return f"`{found.stored[:80]}` is a Constant node" if found is not None else ""


def _of_ops(shown: _Shown, asked: Callable[[NodeView], bool]) -> str:
    found = [node.op for node in shown.work.view.nodes if asked(node)]
    kinds = ", ".join(sorted(set(found))[:3])
    return f"{kinds}: {len(found)}" if found else ""


_TOOLS: tuple[tuple[str, Callable[[_Shown], str]], ...] = (
    ("qdsl", _qdsl),
    ("onnxruntime", _onnxruntime),
    ("modelopt", _modelopt),
    ("nncf", _nncf),
    ("quark", _quark),
    ("aimet", _aimet),
    ("brevitas", _brevitas),
    ("torch", _torch),
    ("tflite", _tflite),
    ("openvino", _openvino),
)
_FORMS: tuple[tuple[str, Callable[[_Shown], str]], ...] = (
    ("qonnx", _qonnx),
    ("pact", _pact),
    ("qdq", _qdq),
    ("qoperator", _qoperator),
    ("dynamic", _dynamic),
    ("weight_only", _weight_only),
    ("microsoft_qdq", _microsoft),
    ("constant_nodes", _constants),
)
