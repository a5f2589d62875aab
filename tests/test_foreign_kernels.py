"""What is said of files of others before they are loaded is what ONNX Runtime runs of them, node for node."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign_kernels import TABLE, WAYS, by_onnxruntime, compared, of_way, said_of
from onnx import numpy_helper
from random_graphs import random_model
from random_pairs import with_random_pairs
from seeds import few_of

from qdsl.diag import QdslError
from qdsl.graph import from_proto
from qdsl.graph.sessions import RuntimeRefusesError

GRAPHS, CHUNK = 300, 10
ROOT = Path(__file__).resolve().parent.parent
# Nothing that ONNX Runtime knows, or a body of the file that it inlines under names of its own.
NOT_LOADED = {"brevitas_qonnx.onnx"}
# A scale as a vector of one beside a weight's scalar: whether the runtime gets a constant of the float bias depends on
# what else it changes in the file.
UNSETTLED = frozenset({210, 664})
# A scale as a vector of one before an AveragePool; a signed pair that the runtime carries over and then contradicts.
REFUSED = ("must be a scalar", "does not match y_zero_point type")
INLINED = {"function_with_variadics.onnx"}


@dataclass(frozen=True)
class Case:
    """A graph in text, whose constants are those of `GIVEN` and `more`; what runs of each node, and why."""

    name: str
    text: str
    expect: dict[str, str]
    because: str = ""
    opset: int = 17
    inputs: tuple[str, ...] = ()  # constants that are graph inputs, too
    more: dict[str, Any] = field(default_factory=dict)


def many(value: float, count: int, kind: Any = np.float32) -> Any:
    return np.full(count, value, kind)


GIVEN: dict[str, Any] = {
    "s": np.float32(0.1),
    "t": np.float32(0.3),
    "ws": np.float32(0.05),
    "z": np.uint8(0),
    "z3": np.uint8(3),
    "i": np.int8(0),
    "w": (np.arange(16) % 7 - 3).astype(np.int8).reshape(4, 4, 1, 1),
    "m": (np.arange(64) % 7 - 3).astype(np.int8).reshape(16, 4),
    "f": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4, 1, 1),
}
PICTURE = "(float[1,4,6,6] x) => (float y)"
ROWS = "(float[2,16] x) => (float y)"
READ = "[q] q = QuantizeLinear (x, s, z) [dq] d = DequantizeLinear (q, s, z)"
WEIGHT = "[v] v = DequantizeLinear (w, ws, i)"
WRITE = "[q2] p = QuantizeLinear (e, t, z) [dq2] y = DequantizeLinear (p, t, z)"

CASES = (
    Case("conv", f"{PICTURE} {{ {READ} {WEIGHT} [n] e = Conv (d, v) {WRITE} }}", {"n": "integer QLinearConv"}),
    Case(
        "a float weight in a pair is stored when the file is loaded",
        f"{PICTURE} {{ {READ} [k] k = QuantizeLinear (f, ws, i) [v] v = DequantizeLinear (k, ws, i) "
        f"[n] e = Conv (d, v) {WRITE} }}",
        {"n": "integer QLinearConv"},
    ),
    Case(
        "what graph inputs may replace is no constant",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, s, i) [dq] d = DequantizeLinear (q, s, i) {WEIGHT} "
        f"[n] e = Conv (d, v) [q2] p = QuantizeLinear (e, t, i) [dq2] y = DequantizeLinear (p, t, i) }}",
        {"n": "float Conv"},
        "use uint8 activations",
        inputs=("i",),
    ),
    Case(
        "a scale that is computed keeps movers float",
        f"{PICTURE} {{ [g] g = Abs (one) [q] q = QuantizeLinear (x, g, z) [dq] d = DequantizeLinear (q, g, z) "
        "[n] e = MaxPool <kernel_shape = [2, 2]> (d) [q2] p = QuantizeLinear (e, g, z) "
        "[dq2] y = DequantizeLinear (p, g, z) }",
        {"n": "float MaxPool"},
        "no constants",
        inputs=("one",),
        more={"one": np.float32(0.2)},
    ),
    Case(
        "movers ask for a zero point that is written",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, s) [dq] d = DequantizeLinear (q, s) "
        "[n] e = MaxPool <kernel_shape = [2, 2]> (d) [q2] p = QuantizeLinear (e, s) "
        "[dq2] y = DequantizeLinear (p, s) }",
        {"n": "float MaxPool"},
        "without a zero point",
    ),
    Case(
        "one scale per channel is not moved",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, cs, cz) [dq] d = DequantizeLinear (q, cs, cz) "
        "[n] e = MaxPool <kernel_shape = [2, 2]> (d) [q2] p = QuantizeLinear (e, cs, cz) "
        "[dq2] y = DequantizeLinear (p, cs, cz) }",
        {"n": "float MaxPool"},
        "one scale per channel",
        more={"cs": many(0.1, 4), "cz": many(0, 4, np.uint8)},
    ),
    Case(
        "a bias in steps of its own leaves a Conv float",
        f"{PICTURE} {{ {READ} {WEIGHT} [bd] b = DequantizeLinear (bias, s) [n] e = Conv (d, v, b) {WRITE} }}",
        {"n": "float Conv"},
        "scale of the stored bias",
        more={"bias": many(7, 4, np.int32)},
    ),
    Case(
        "a bias in steps of the products",
        f"{PICTURE} {{ {READ} {WEIGHT} [bd] b = DequantizeLinear (bias, bs) [n] e = Conv (d, v, b) {WRITE} }}",
        {"n": "integer QLinearConv"},
        more={"bias": many(7, 4, np.int32), "bs": np.float32(0.1) * np.float32(0.05)},
    ),
    Case(
        "a bias of eight bits",
        f"{PICTURE} {{ {READ} {WEIGHT} [bd] b = DequantizeLinear (bias, s, i) [n] e = Conv (d, v, b) {WRITE} }}",
        {"n": "float Conv"},
        "must be int32",
        more={"bias": many(7, 4, np.int8)},
    ),
    Case(
        "an Identity, a Cast to the same type and a product with 1 are taken out",
        f"{PICTURE} {{ {READ} {WEIGHT} [n] a = Conv (d, v) [same] b = Identity (a) [cast] c = Cast <to = 1> (b) "
        f"[one] one = Constant <value_float = 1.0> () [mul] e = Mul (c, one) {WRITE} }}",
        {"n": "integer QLinearConv", "same": "absorbed", "cast": "absorbed", "mul": "absorbed", "one": "absorbed"},
    ),
    Case(
        "a Clip whose limits are Constant nodes",
        f"{PICTURE} {{ {READ} {WEIGHT} [lo] lo = Constant <value_float = 0.0> () "
        f"[hi] hi = Constant <value_float = 76.5> () [n] a = Conv (d, v) [clip] e = Clip (a, lo, hi) {WRITE} }}",
        {"n": "integer QLinearConv", "clip": "absorbed QLinearConv"},
    ),
    Case(
        "two pairs become one",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, s, z3) [dq] c = DequantizeLinear (q, s, z3) "
        "[r] r = QuantizeLinear (c, t, z) [rd] d = DequantizeLinear (r, t, z) [n] e = Sigmoid (d) "
        f"{WRITE} }}",
        {"n": "integer QLinearSigmoid"},
    ),
    Case(
        "two pairs of different types stay two",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, s, z3) [dq] c = DequantizeLinear (q, s, z3) "
        "[r] r = QuantizeLinear (c, t, i) [rd] d = DequantizeLinear (r, t, i) [n] e = Sigmoid (d) "
        f"{WRITE} }}",
        {"n": "integer QLinearSigmoid"},
    ),
    Case(
        "what both pairs let through starts at the zero point of neither",
        f"{PICTURE} {{ {READ} {WEIGHT} [n] a = Conv (d, v) [r] e = Relu (a) [q2] p = QuantizeLinear (e, s, z) "
        "[m] b = DequantizeLinear (p, s, z) [q3] o = QuantizeLinear (b, t, z3) [dq3] y = DequantizeLinear (o, t, z3) }",
        {"n": "integer QLinearConv", "r": "absorbed QLinearConv"},
    ),
    Case(
        "a lone DequantizeLinear moves down, and its int8 does not become uint8",
        "(int8[1,4,6,6] x) => (float y) { [dq] d = DequantizeLinear (x, s, i) "
        "[n] e = MaxPool <kernel_shape = [2, 2]> (d) [neg] y = Neg (e) }",
        {"n": "float MaxPool", "neg": "float Neg"},
    ),
    Case(
        "a lone DequantizeLinear of uint8 moves down",
        "(uint8[1,4,6,6] x) => (float y) { [dq] d = DequantizeLinear (x, s, z) "
        "[n] e = MaxPool <kernel_shape = [2, 2]> (d) [neg] y = Neg (e) }",
        {"n": "integer MaxPool", "neg": "float Neg"},
    ),
    Case(
        "integers that leave the graph stay int8",
        f"(float[1,4,6,6] x) => (int8 y) {{ [q] q = QuantizeLinear (x, s, i) [dq] d = DequantizeLinear (q, s, i) "
        f"{WEIGHT} [n] e = Conv (d, v) [q2] y = QuantizeLinear (e, t, i) }}",
        {"n": "float Conv"},
        "use uint8 activations",
    ),
    Case(
        "a weight of floats and integers: MatMulNBits",
        f"{ROWS} {{ [v] v = DequantizeLinear (m, ws, i) [n] y = MatMul (x, v) }}",
        {"n": "integer MatMulNBits"},
    ),
    Case(
        "one scale written as a vector is nothing for MatMulNBits",
        f"{ROWS} {{ [v] v = DequantizeLinear (m, vs, vz) [n] y = MatMul (x, v) }}",
        {"n": "float MatMul"},
        "not quantized",
        more={"vs": many(0.05, 1), "vz": many(0, 1, np.int8)},
    ),
    Case(
        "an axis that counts from the end is nothing for MatMulNBits",
        f"{ROWS} {{ [v] v = DequantizeLinear <axis = -1> (m, cs, cz) [n] y = MatMul (x, v) }}",
        {"n": "float MatMul"},
        more={"cs": many(0.05, 4), "cz": many(0, 4, np.int8)},
    ),
    Case(
        "scales along the rows are nothing for MatMulNBits",
        f"{ROWS} {{ [v] v = DequantizeLinear <axis = 0> (m, cs, cz) [n] y = MatMul (x, v) }}",
        {"n": "float MatMul"},
        more={"cs": many(0.05, 16), "cz": many(0, 16, np.int8)},
    ),
    Case(
        "a scale that somebody else has is nothing for MatMulNBits",
        f"{ROWS} {{ [v] v = DequantizeLinear (m, ws, i) [n] a = MatMul (x, v) [mul] y = Mul (a, ws) }}",
        {"n": "float MatMul", "mul": "float Mul"},
    ),
    Case(
        "a weight that somebody else reads is nothing for MatMulNBits",
        "(float[2,16] x) => (float y, float o) { [v] v = DequantizeLinear (m, ws, i) [n] y = MatMul (x, v) "
        "[neg] o = Neg (v) }",
        {"n": "float MatMul", "neg": "float Neg"},
    ),
    Case(
        "beside activations of 16 bits MatMulNBits reads floats",
        f"{ROWS} {{ [q] q = QuantizeLinear (x, s, u) [dq] d = DequantizeLinear (q, s, u) "
        "[v] v = DequantizeLinear (m, ws, i) [n] e = MatMul (d, v) [r] r = Relu (e) "
        "[q2] p = QuantizeLinear (r, t, u) [dq2] y = DequantizeLinear (p, t, u) }",
        {"n": "integer MatMulNBits", "r": "absorbed MatMulNBits"},
        opset=21,
        more={"u": np.uint16(0)},
    ),
    Case(
        "and what it writes is of the same type",
        f"{ROWS} {{ [q] q = QuantizeLinear (x, s, u) [dq] d = DequantizeLinear (q, s, u) "
        f"[v] v = DequantizeLinear (m, ws, i) [n] e = MatMul (d, v) {WRITE} }}",
        {"n": "float MatMul"},
        "differ in type",
        opset=21,
        more={"u": np.uint16(0)},
    ),
    Case(
        "float16 values come to most kernels through Casts",
        "(float16[1,4,6,6] x) => (float16 y) { [q] q = QuantizeLinear (x, h, z) [dq] d = DequantizeLinear (q, h, z) "
        "[n] e = GlobalAveragePool (d) [q2] p = QuantizeLinear (e, h, z) [dq2] g = DequantizeLinear (p, h, z) "
        "[flat] o = Flatten (g) [q3] k = QuantizeLinear (o, h, z) [dq3] y = DequantizeLinear (k, h, z) }",
        {"n": "float GlobalAveragePool", "flat": "integer Flatten"},
        "through Casts",
        opset=19,
        more={"h": np.float16(0.1)},
    ),
    Case(
        "an integer product, spelled out",
        f"{ROWS} {{ [measure] q, a, o = DynamicQuantizeLinear (x) [n] p = MatMulInteger (q, m, o, i) "
        "[cast] c = Cast <to = 1> (p) [scales] b = Mul (a, ws) [mul] y = Mul (c, b) }",
        {"n": "integer DynamicQuantizeMatMul", "mul": "absorbed DynamicQuantizeMatMul"},
    ),
    Case(
        "two integer products of one measured tensor",
        "(float[2,16] x) => (float y, float k) { [measure] q, a, o = DynamicQuantizeLinear (x) "
        "[n] p = MatMulInteger (q, m, o, i) [cast] c = Cast <to = 1> (p) [scales] b = Mul (a, ws) [mul] y = Mul (c, b) "
        "[n2] p2 = MatMulInteger (q, m2, o, i) [cast2] c2 = Cast <to = 1> (p2) [scales2] b2 = Mul (a, t) "
        "[mul2] k = Mul (c2, b2) }",
        {"n": "integer MatMulIntegerToFloat", "n2": "integer MatMulIntegerToFloat"},
        more={"m2": np.ones((16, 4), np.int8)},
    ),
    Case(
        "products whose scales are one node stay as they are",
        "(float[2,16] x) => (float y, float k) { [measure] q, a, o = DynamicQuantizeLinear (x) "
        "[n] p = MatMulInteger (q, m, o, i) [cast] c = Cast <to = 1> (p) [scales] b = Mul (a, ws) [mul] y = Mul (c, b) "
        "[n2] p2 = MatMulInteger (q, m2, o, i) [cast2] c2 = Cast <to = 1> (p2) [mul2] k = Mul (c2, b) }",
        {"n": "integer MatMulInteger", "n2": "integer MatMulInteger", "mul": "float Mul"},
        more={"m2": np.ones((16, 4), np.int8)},
    ),
    Case(
        "QGemm asks for zero points that are written",
        f"{ROWS} {{ {READ} [v] v = DequantizeLinear (m, ws) [n] e = Gemm (d, v) {WRITE} }}",
        {"n": "float Gemm"},
        "without a zero point",
    ),
    Case(
        "QLinearAdd asks for scalars",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, vs, vz) [dq] d = DequantizeLinear (q, vs, vz) [n] e = Add (d, d) "
        f"{WRITE} }}",
        {"n": "float Add"},
        "must be scalars",
        more={"vs": many(0.1, 1), "vz": many(0, 1, np.uint8)},
    ),
    Case(
        "a QuantizeLinear that nobody reads is one more",
        f"{PICTURE} {{ {READ} {WEIGHT} [n] e = Conv (d, v) [idle] o = QuantizeLinear (e, s, z) {WRITE} }}",
        {"n": "float Conv"},
        "more than once",
    ),
    Case(
        "equal QuantizeLinear nodes are two where their zero points are",
        f"(float[1,4,6,6] x) => (float y, float k) {{ {READ} {WEIGHT} [n] e = Conv (d, v) {WRITE} "
        "[q3] o = QuantizeLinear (e, t, other) [dq3] k = DequantizeLinear (o, t, other) }",
        {"n": "float Conv"},
        "more than once",
        more={"other": np.uint8(0)},
    ),
    Case(
        "and one where their scales alone are",
        f"(float[1,4,6,6] x) => (float y, float k) {{ {READ} {WEIGHT} [n] e = Conv (d, v) {WRITE} "
        "[q3] o = QuantizeLinear (e, other, z) [dq3] k = DequantizeLinear (o, other, z) }",
        {"n": "integer QLinearConv"},
        more={"other": np.float32(0.3)},
    ),
    Case(
        "a DequantizeLinear that nobody reads keeps int8",
        f"{PICTURE} {{ {READ.replace('z)', 'i)')} {WEIGHT} [idle] o = DequantizeLinear (q, s, i) [n] e = Conv (d, v) "
        f"{WRITE.replace('z)', 'i)')} }}",
        {"n": "float Conv"},
        "int8 tensor that is not one Q, one DQ and one reader",
    ),
    Case(
        "one pair in place of two has another scale than the bias",
        f"{PICTURE} {{ [q] q = QuantizeLinear (x, s, z3) [dq] c = DequantizeLinear (q, s, z3) "
        "[r] r = QuantizeLinear (c, t, z) [rd] d = DequantizeLinear (r, t, z) "
        f"{WEIGHT} [bd] b = DequantizeLinear (bias, bs) [n] e = Conv (d, v, b) {WRITE} }}",
        {"n": "float Conv"},
        "scale of the stored bias",
        more={"bias": many(7, 4, np.int32), "bs": np.float32(0.3) * np.float32(0.05)},
    ),
    Case(
        "a bias is stored before a Relu that the caller sees, and the Gemm computes in integers",
        f"(float[2,16] x) => (uint8 p, float r) {{ {READ} [v] v = DequantizeLinear (m, ws, i) [n] e = Gemm (d, v, c) "
        "[relu] r = Relu (e) [q2] p = QuantizeLinear (r, t, z) }",
        {"n": "integer QGemm", "relu": "float Relu"},
        more={"c": many(0.5, 4)},
    ),
    Case(
        "a product with 1 of what the caller gives stays",
        f"{PICTURE} {{ [mul] a = Mul (x, one) [q] q = QuantizeLinear (a, s, z) [dq] d = DequantizeLinear (q, s, z) "
        f"{WEIGHT} [n] e = Conv (d, v) {WRITE} }}",
        {"mul": "float Mul", "n": "integer QLinearConv"},
        more={"one": np.float32(1)},
    ),
    Case(
        "Q and DQ of com.microsoft",
        f"{PICTURE} {{ [q] q = com.microsoft.QuantizeLinear (x, s, z) "
        f"[dq] d = com.microsoft.DequantizeLinear (q, s, z) {WEIGHT} [n] e = Conv (d, v) {WRITE} }}",
        {"n": "integer QLinearConv"},
    ),
)


def built(case: Case) -> onnx.ModelProto:
    head = f'<ir_version: 10, opset_import: ["": {case.opset}, "com.microsoft": 1]> g '
    proto = onnx.parser.parse_model(head + case.text)
    read = {name for node in proto.graph.node for name in node.input}
    for name, value in (GIVEN | case.more).items():
        if name in read:
            proto.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    kinds = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in proto.graph.initializer}
    proto.graph.input.extend(onnx.helper.make_tensor_value_info(name, *kinds[name]) for name in case.inputs)
    return proto


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_said_is_what_runs(case: Case) -> None:
    proto = built(case)
    found = compared(proto.SerializeToString())
    assert found.apart == ()
    said = said_of(from_proto(proto))
    told = {name: f"{said[name].runs} {said[name].kernel}".strip() for name in case.expect}
    assert told == case.expect
    assert not case.because or any(case.because in said[name].because for name in case.expect)


def test_the_reasons_for_files_of_others_are_reached() -> None:
    said = {prediction.because for case in CASES for prediction in said_of(from_proto(built(case))).values()}
    assert {
        TABLE.reasons[key] for key in ("zero_point", "computed_scale", "many_scales", "bias_scale", "scalars")
    } <= said


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, GRAPHS, CHUNK), 1))
def test_files_of_onnxruntimes_quantizer(first: int, tmp_path: Path) -> None:
    nodes = 0
    for seed in range(first, first + CHUNK):
        made = by_onnxruntime(random_model(seed), seed, tmp_path)
        if made is None:
            continue
        try:
            found = compared(made)
        except RuntimeRefusesError as error:  # the quantizer leaves nodes of an older opset behind
            assert "invalid model" in str(error), f"seed {seed}"
            continue
        assert found.apart == (), f"seed {seed}:\n" + "\n".join(found.apart)
        nodes += found.nodes
    assert nodes > 5 * CHUNK


@pytest.mark.parametrize("first", few_of(range(0, 2 * GRAPHS, CHUNK), 1))
def test_pairs_at_random_places(first: int) -> None:
    nodes = 0
    for seed in range(first, first + CHUNK):
        made = with_random_pairs(random_model(seed), seed)
        try:
            found = compared(made.SerializeToString())
        except RuntimeRefusesError as error:
            assert any(reason in str(error) for reason in REFUSED), f"seed {seed}"
            continue
        apart = () if seed in UNSETTLED else found.apart
        assert apart == (), f"seed {seed}:\n" + "\n".join(apart)
        nodes += found.nodes
    assert nodes > 5 * CHUNK


def test_files_of_other_tools(testdata: Path) -> None:
    files = sorted((testdata / "audit_corpus").glob("*.onnx"))
    found = {file.name: compared(file) for file in files if file.name not in NOT_LOADED}
    assert {name: each.apart for name, each in found.items() if each.apart} == {}
    assert len(found) == 9
    assert sum(each.nodes for each in found.values()) == 80


@pytest.mark.slow
def test_public_models(testdata: Path) -> None:
    files = [*(testdata / "models").glob("*.onnx"), *(ROOT / "examples").glob("*/*.onnx")]
    found = {file.name: compared(file) for file in files}
    assert {name: each.apart for name, each in found.items() if each.apart} == {}
    assert sum(each.nodes for each in found.values()) > 2000


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_public_models_by_the_quantizer(testdata: Path, tmp_path: Path, way: str) -> None:
    """Those that the quantizer takes and ONNX Runtime then loads: it leaves out the axis of some scales."""
    nodes = 0
    for file in [*(testdata / "models").glob("*.onnx"), *(ROOT / "examples").glob("*/*.onnx")]:
        try:
            of_way(file, way, tmp_path / "made.onnx")
            found = compared(tmp_path / "made.onnx")
        except Exception as error:  # the quantizer raises whatever; what is ours may not
            assert not isinstance(error, AssertionError | LookupError | QdslError), file.name
            continue
        assert found.apart == (), file.name
        nodes += found.nodes
    assert nodes > 500


@pytest.mark.slow
def test_odd_models(testdata: Path) -> None:
    nodes = 0
    for file in sorted((testdata / "odd").glob("*/*.onnx")):
        if file.name in INLINED:
            continue
        try:
            found = compared(file)
        except (QdslError, RuntimeRefusesError):
            continue
        assert found.apart == (), file.name
        nodes += found.nodes
    assert nodes > 500
