"""Files that other tools made: what is special about each is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from finished_tools import CORPUS, SHARED, of_tensor, read_corpus

from qdsl.diag import QdslError
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph import load
from qdsl.spec import Granularity
from qdsl.spec.plan import Reader


def names(finished: Finished) -> list[str]:
    return [dialect.name for dialect in finished.dialects]


def weights(finished: Finished) -> list[QuantizedTensor]:
    return [each for each in finished.tensors if each.role is Role.WEIGHT]


def activations(finished: Finished) -> dict[str, QuantizedTensor]:
    return {each.tensor: each for each in finished.tensors if each.role is Role.ACTIVATION}


def test_modelopt() -> None:
    """All of it float16; the scales of Q and DQ are tensors of their own; one input of the Add has a pair."""
    found = read_corpus("modelopt.onnx")
    assert names(found) == ["modelopt", "qdq"]
    assert len(found.tensors) == 8 and not found.faults
    assert {each.parameters.scale_element for each in found.tensors} == {"float16"}
    assert {each.form for each in weights(found)} == {Form.FLOAT_PAIR}
    assert [each.parameters.axis for each in weights(found)] == [0, 0, 0]
    assert all(each.form is Form.PAIR for each in activations(found).values())
    assert of_tensor(found, "r1").readers == (Reader("conv2", 0), Reader("add1", 1))
    assert "c3" not in activations(found)


def test_modelopt_in_float32() -> None:
    found = read_corpus("modelopt_fp32.onnx")
    assert names(found) == ["modelopt", "qdq"] and len(found.tensors) == 8
    assert {each.parameters.scale_element for each in found.tensors} == {"float32"}
    assert {each.parameters.element for each in found.tensors} == {"int8"}


def test_nncf() -> None:
    """Stored weights, an axis from the end, a zero point of 0 behind a Relu; the first Conv in half of the codes."""
    found = read_corpus("nncf.onnx")
    assert names(found) == ["nncf", "qdq"]
    assert {each.form for each in weights(found)} == {Form.STORED}
    assert of_tensor(found, "dq_output_w4_1").parameters.axis == 0
    r1 = of_tensor(found, "r1").parameters
    assert (r1.element, r1.zero_point) == ("uint8", 0)
    assert np.abs(found.model.values(weights(found)[0].stored)).max() == 64
    assert not any(each.role is Role.BIAS for each in found.tensors)


def test_quark() -> None:
    """Powers of two, biases of int8, a zero point of 128 also behind a Relu."""
    found = read_corpus("quark.onnx")
    assert names(found) == ["quark", "qdq"]
    biases = [each for each in found.tensors if each.role is Role.BIAS]
    assert [each.parameters.element for each in biases] == ["int8"] * 4
    assert {each.parameters.element for each in weights(found)} == {"int8"}
    assert of_tensor(found, "r1").parameters.zero_point == 128
    assert all(np.all(np.log2(each.parameters.scale) % 1 == 0) for each in found.tensors)


def test_quark_in_com_microsoft() -> None:
    found = read_corpus("quark_msdomain.onnx")
    assert names(found) == ["quark", "qdq", "microsoft_qdq"]
    biases = [each for each in found.tensors if each.role is Role.BIAS]
    assert [each.parameters.element for each in biases] == ["int32"] * 4
    assert {each.parameters.granularity for each in biases} == {Granularity.PER_TENSOR}
    assert {each.parameters.element for each in activations(found).values()} == {"int8"}


def test_aimet() -> None:
    """Float weights in pairs; the Flatten has a pair of its own with equal parameters."""
    found = read_corpus("aimet.onnx")
    assert names(found) == ["aimet", "qdq"]
    assert {each.form for each in weights(found)} == {Form.FLOAT_PAIR}
    before, after = of_tensor(found, "g"), of_tensor(found, "f")
    assert before.parameters.key == after.parameters.key
    assert before.parameters.key != of_tensor(found, "r1").parameters.key


def test_brevitas_as_qonnx() -> None:
    found = read_corpus("brevitas_qonnx.onnx")
    assert names(found) == ["brevitas", "torch", "qonnx"]
    assert {each.form for each in found.tensors} == {Form.FAKE}
    first, second = (each.parameters for each in weights(found))
    assert (first.element, first.low, first.high) == ("int4", -7, 7)
    assert (second.element, second.low, second.high) == ("int8", -127, 127)
    assert of_tensor(found, "relu").parameters.element == "uint8"


def test_brevitas_with_clips() -> None:
    found = read_corpus("brevitas_qcdq.onnx")
    assert names(found) == ["brevitas", "torch", "qdq"]
    first, second = (each.parameters for each in weights(found))
    assert (first.element, first.low, first.high) == ("int8", -7, 7)
    assert (second.element, second.low, second.high) == ("int8", -127, 127)
    assert weights(found)[0].between == ("node__symbolic_3",)


def test_torch_pt2e() -> None:
    """Zero points that layers share mean nothing."""
    found = read_corpus("torch_pt2e.onnx")
    assert names(found) == ["torch", "qdq"]
    assert [each.stored for each in weights(found)] == ["_frozen_param0", "_frozen_param1", "_frozen_param2"]
    assert len({each.parameters.key for each in found.tensors}) == len(found.tensors) == 6


def test_tflite_through_tf2onnx() -> None:
    """Integers enter and leave; a Transpose stands on them."""
    found = read_corpus("tf2onnx_int8.onnx")
    assert names(found) == ["tflite", "qdq"]
    enters = next(each for each in found.tensors if each.form is Form.LONE_DEQUANTIZE)
    leaves = next(each for each in found.tensors if each.form is Form.LONE_QUANTIZE)
    assert (enters.between, enters.parameters.zero_point) == (("c_prequant__22",), -3)
    assert (leaves.between, leaves.readers) == (("c_prequant__24",), (Reader("", -1),))
    (bias,) = [each for each in found.tensors if each.role is Role.BIAS]
    assert (bias.parameters.element, bias.parameters.granularity) == ("int32", Granularity.PER_CHANNEL)


def test_a_tflite_file_is_refused_by_name() -> None:
    if not CORPUS.exists():
        pytest.skip("needs ../shared/testdata/audit_corpus")
    with pytest.raises(QdslError, match="TensorFlow Lite"):
        load(CORPUS / "ai_edge_quantizer.tflite")


FOREIGN = sorted((SHARED / "models").glob("*q*.onnx")) + sorted((SHARED / "models").glob("*int8*.onnx"))


@pytest.mark.parametrize("file", FOREIGN, ids=lambda file: file.stem)
def test_quantized_models(file: Path) -> None:
    """Every Q and DQ is in exactly one record, and none of these files has a fault."""
    found = read(load(file))
    writers = [name for each in found.tensors for name in (*each.quantizers, *each.dequantizers)]
    nodes = [n.name for n in onnx.load(file).graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert sorted(writers) == sorted(nodes) and nodes
    assert not found.faults and names(found) == ["tflite", "qdq"]


@pytest.mark.parametrize("folder", ["ort", "polygraphy"])
def test_odd_files(folder: str) -> None:
    """Those that load are read."""
    files = sorted((SHARED / "odd" / folder).glob("*.onnx"))
    if not files:
        pytest.skip("needs ../shared/testdata/odd")
    quantized = 0
    for file in files:
        try:
            model = load(file)
        except QdslError:
            continue
        found = read(model)
        quantized += found.quantized
        assert bool(found.dialects) == found.quantized, file.name
    assert quantized > 0
