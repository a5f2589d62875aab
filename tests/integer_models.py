"""The crack classifiers as quantized files and their pictures, for tests of integer graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import numpy_helper

import qdsl
from qdsl import data
from qdsl.integer.interpret import run
from qdsl.integer.layout import as_onnx, stored
from qdsl.integer.records import IntegerGraph
from qdsl.work.prepared import prepare, read, takes

ROOT = Path(__file__).resolve().parent.parent
Net = Literal["v1", "v2"]
Mode = Literal["static", "dynamic"]
Target = Literal["ort", "stm32"]
Array = NDArray[Any]

FEW = '{ split train; classes ["clean", "crack"]; take 8 seed 7 }'
# In dynamic builds every product is asked for in integers, with weights that int8 kernels take.
DYNAMIC = "\nlayers op [Conv, Gemm, MatMul] { weights int8 symmetric per_channel }\n"


@cache
def crack_model(net: Net, mode: Mode = "static", target: Target = "ort") -> onnx.ModelProto:
    """MobileNetV1x0.25 or V2x0.5 of `examples/cracks`, quantized as `recipes/cracks_*` say but for `improve`, on
    8 pictures. `static` is Q/DQ with int8 weights per channel and activations that are uint8, or int8 for a
    microcontroller: products of two int8 are added exactly by every CPU. Half a second; not to be changed."""
    with TemporaryDirectory() as folder:
        recipe = _recipe(net, mode, Path(folder), target)
        result = qdsl.compile(recipe, out=Path(folder) / "build", lock=False, measure=False)
        return onnx.load(result.targets[0].emitted.model)


def crack_pictures(count: int, net: Net = "v1") -> list[Array]:
    """The first pictures of the evaluation set as the network takes them: float32 [1, 3, 224, 224]."""
    with TemporaryDirectory() as folder:
        prepared = prepare(read(_recipe(net, "static", Path(folder)), {}))
        dataset = data.open(prepared.recipe.dataset("val"), prepared.recipe.inputs, takes(prepared))
        return [dataset.sample(index).arrays["images"] for index in range(count)]


def _recipe(net: Net, mode: Mode, folder: Path, target: Target = "ort") -> Path:
    text = (ROOT / "recipes" / f"cracks_{net}_{mode}.q").read_text(encoding="utf-8")
    text = text.replace("../", f"{ROOT.as_posix()}/")
    text = text.replace('{ split train; classes ["clean", "crack"] }', FEW)
    text = text.replace("improve { bias_correct }", "")
    if target == "stm32":
        text = text.replace("activations uint8", "activations int8").replace("ort { threads 1 }", "stm32")
    if mode == "dynamic":
        text = text.replace("\nevaluate", f"{DYNAMIC}\nevaluate")
    path = folder / f"cracks_{net}_{mode}.q"
    path.write_text(text, encoding="utf-8")
    return path


def signed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The same file with int8 in the place of uint8: zero points and stored values less 128."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    values = {each.name: each for each in made.graph.initializer}
    moved: set[str] = set()
    for node in made.graph.node:
        stored_at = node.input[0] if node.op_type == "DequantizeLinear" else ""
        for name in (stored_at, *node.input[2:3]) if node.op_type in ("QuantizeLinear", "DequantizeLinear") else ():
            if name in values and name not in moved and values[name].data_type == onnx.TensorProto.UINT8:
                values[name].CopyFrom(numpy_helper.from_array(shifted(numpy_helper.to_array(values[name])), name))
                moved.add(name)
    del made.graph.value_info[:]
    return made


# --- running ---------------------------------------------------------------------------------------------------------


def fused(proto: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime's fused kernels answer, on int8 where the file has int8."""
    return fused_session(proto)(feeds)


def fused_session(proto: onnx.ModelProto) -> Callable[[dict[str, Array]], dict[str, Array]]:
    """`fused` of one file for many samples."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def interpreted(graph: IntegerGraph, feeds: dict[str, Array]) -> dict[str, Array]:
    """What the interpreter answers, inputs and outputs in the order and the type that the file has them in: uint8 is
    int8 plus 128."""
    given = {name: stored(graph.tensors[name], shifted(array)) for name, array in feeds.items()}
    return {name: as_onnx(graph.tensors[name], array) for name, array in run(graph, given).items()}


def shifted(array: Array) -> Array:
    return (array.astype(np.int16) - 128).astype(np.int8) if array.dtype == np.uint8 else array
