"""Engines as their inspector tells them: real ones of TensorRT 8.x, and SYNTHETIC ones in the forms of 10.x and 11.x.

The keys of those are of NVIDIA's documentation and of polygraphy's reader; no engine wrote them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

from qdsl.targets.tensorrt.scripts import verify_engine
from qdsl.targets.tensorrt.scripts.verify_engine import Asked, Dump, Examined, LayerTimes, Manifest

REAL = Path(__file__).resolve().parent / "data" / "tensorrt"
QAT, RESIDUAL = "resnet18_qat.A100", "resnet18_qat_residual.A100"
FP16, MOBILENET = "resnet18_fp16.A100", "mobilenet_qat.TITANRTX"
Plain = dict[str, Any]


def real(name: str) -> Plain:
    found: Plain = json.loads((REAL / f"{name}.graph.json").read_text())
    return found


def read(plain: Any) -> Dump:
    return verify_engine.read_layers(json.dumps(plain))


def planned_of(plain: Plain, boundary: tuple[str, ...] = ()) -> Manifest:
    """A plan in which every Conv and Gemm that the layers name is int8: the names are those of the ONNX file."""
    names = [part for layer in plain["Layers"] for part in layer["Name"].split(" + ")]
    nodes = dict.fromkeys(name for name in names if re.fullmatch(r"(Conv|Gemm)_\d+", name))
    return Manifest("model.onnx", tuple(Asked(name, name.split("_")[0], "int8") for name in nodes), boundary)


def examined(plain: Any, manifest: Manifest, times: LayerTimes | None = None) -> Examined:
    return verify_engine.examine(manifest, read(plain), times)


def verdicts(plain: Any, manifest: Manifest) -> dict[str, str]:
    return {each.node: each.verdict for each in examined(plain, manifest).verdicts}


def layer_of(plain: Plain, node: str) -> Plain:
    """The layer of an 8.x dump that computes the node."""
    found = [each for each in plain["Layers"] if node in each["Name"].split(" + ") and each["LayerType"] != "NoOp"]
    return next(each for each in found if not each["Name"].startswith("Reformatting"))


def in_floats(plain: Plain, node: str) -> Plain:
    """A copy in which the node's layer reads, multiplies and writes float32."""
    made = copy.deepcopy(plain)
    layer = layer_of(made, node)
    for tensor in (*layer["Inputs"], *layer["Outputs"]):
        tensor["Format/Datatype"] = "Row major linear FP32"
    for key in ("Weights", "ConvWeights"):
        if key in layer:
            layer[key]["Type"] = "Float"
    if "TacticName" in layer:
        layer["TacticName"] = "sm80_xmma_fprop_implicit_gemm_f32f32_f32f32_f32_nchwkcrs_nchw_tilesize128x64x8"
    return made


def without(plain: Plain, node: str) -> Plain:
    """A copy without the layer that computes the node."""
    gone = layer_of(plain, node)["Name"]
    return {**plain, "Layers": [each for each in plain["Layers"] if each["Name"] != gone]}


# ---- synthetic -------------------------------------------------------------------------------------------------------


def layer10(name: str, kind: str, reads: dict[str, str], writes: dict[str, str], nodes: str = "", **more: Any) -> Plain:
    """A layer in the form of 10.x: `reads` and `writes` are types by tensor, `nodes` those of the metadata."""
    return {
        "Name": name,
        "LayerType": kind,
        "Inputs": [{"Name": tensor, "Dimensions": [1], "Format/Datatype": each} for tensor, each in reads.items()],
        "Outputs": [{"Name": tensor, "Dimensions": [1], "Format/Datatype": each} for tensor, each in writes.items()],
        "StreamId": 0,
        "Metadata": "\x1e".join(f"[ONNX Layer: {node}]" for node in nodes.split()),
        **more,
    }


def layer11(name: str, kind: str, reads: dict[str, str], writes: dict[str, str], nodes: str = "", **more: Any) -> Plain:
    """The same in the form of 11.x; `constants` are the types of its constants."""
    constants = more.pop("constants", None)
    found = layer10(name, kind, {}, {}, nodes, **more)
    found["Inputs"] = [{"Name": tensor, "Datatype": each, "Format": "Linear"} for tensor, each in reads.items()]
    found["Outputs"] = [{"Name": tensor, "Datatype": each, "Format": "Linear"} for tensor, each in writes.items()]
    found["Metadata"] = found["Metadata"].replace("\x1e", "\x1f")
    if constants is not None:
        rows = [{"Name": f"{name} {at}", "Datatype": each, "Format": "Linear"} for at, each in enumerate(constants)]
        found["Constants"] = rows
    return found


def dump10(*layers: Plain) -> Plain:
    return {"Layers": list(layers), "Bindings": ["in", "out"]}


def dump11(*layers: Plain) -> Plain:
    ends = [{"Name": name, "IOMode": mode, "DataType": "Float"} for name, mode in (("in", "INPUT"), ("out", "OUTPUT"))]
    return {"Layers": list(layers), "I/O Tensors": ends}


def asked(node: str, op: str = "Conv", expect: str = "int8", **more: Any) -> Asked:
    return Asked(node, op, expect, **more)


def plan(*nodes: Asked, boundary: tuple[str, ...] = ()) -> Manifest:
    return Manifest("model.onnx", nodes, boundary)


# ---- what TensorRT-RTX's builder prints, in the form of 11.x: keys and values are real, the braces are ours ----------

_TENSOR = re.compile(
    r"\{ Name: (?P<Name>.*?), Dimensions: (?P<Dimensions>\[[^\]]*\]), Strides: (?P<Strides>\[[^\]]*\]), "
    r"StrideOrder: (?P<StrideOrder>\[[^\]]*\]), Datatype: (?P<Datatype>\w+), Format: (?P<Format>[^}]*?) ?\}"
)
_LAYER = re.compile(
    r"Name: (?P<Name>.*?), LayerType: (?P<LayerType>\w+), Inputs: \[(?P<Inputs>.*?)\]"
    r"(?:, Constants: \[(?P<Constants>.*?)\])?, Outputs: \[(?P<Outputs>.*?)\], TacticName: (?P<TacticName>.*?), "
    r"StreamId: (?P<StreamId>\d+), Metadata: ?(?P<Metadata>.*)"
)
_END = re.compile(r"Name: (?P<Name>.*?), IOMode: (?P<IOMode>\w+), DataType: (?P<DataType>\w+), ")


def of_text(text: str) -> Plain:
    """What the inspector of 11.x would tell of an engine whose layers were printed one a line."""
    lines = [line.strip() for line in text.splitlines()]
    layers = [_layer_of(line) for line in lines if "LayerType: " in line]
    ends = [_END.match(line) for line in lines if "IOMode: " in line]
    return {"Layers": layers, "I/O Tensors": [each.groupdict() for each in ends if each is not None]}


def _layer_of(line: str) -> Plain:
    told = _LAYER.fullmatch(line)
    assert told is not None, line
    found: Plain = {key: value for key, value in told.groupdict().items() if value is not None}
    for key in ("Inputs", "Constants", "Outputs"):
        if key in found:
            found[key] = _tensors_of(found[key])
    return {**found, "StreamId": int(found["StreamId"])}


def _tensors_of(text: str) -> list[Plain]:
    found: list[Plain] = [each.groupdict() for each in _TENSOR.finditer(text)]
    assert len(found) == text.count("{ Name: "), text
    lists = ("Dimensions", "Strides", "StrideOrder")
    return [{**each, **{key: json.loads(each[key]) for key in lists}} for each in found]
