"""What is told of a setting that reaches nothing, and of a plan that quantizes nothing: the reason, and what works."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from plan_tools import decided

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import from_proto
from qdsl.graph.view import GraphView
from qdsl.spec.words import count

STATIC = """recipe demo
model onnx "demo.onnx"
quantize static { weights int8 symmetric per_channel; activations uint8 affine per_tensor; range [-4, 4] }
target ort
"""
THREE = "q = MatMul (x, a) k = MatMul (x, b) v = MatMul (x, c) s = Add (q, k) y = Add (s, v)"
MATRIX = np.random.default_rng(5).standard_normal((32, 32)).astype(np.float32)


def view_of(body: str, **constants: np.ndarray) -> GraphView:
    text = f'<ir_version: 9, opset_import: ["": 17]> net (float[1, 8, 32] x) => (float[1, 8, 32] y) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    return from_proto(proto).view()


def told(view: GraphView, rules: str = "", mode: str = "") -> Diagnostic:
    head = STATIC if not mode else STATIC.replace(STATIC.splitlines()[2], mode)
    with pytest.raises(QdslError) as caught:
        decided(view, rules, head=head)
    (found,) = caught.value.diagnostics
    return found


def three() -> GraphView:
    return view_of(THREE, a=MATRIX, b=MATRIX, c=MATRIX)


def test_a_type_that_no_reader_takes_is_told_with_its_reason_and_one_that_works() -> None:
    found = told(three(), 'layers tensor "x" { activations int8 }\n')
    assert found.code == "setting-unused"
    assert found.label.startswith("`x` stays float, as does `") and "int8, uint8" in found.label
    assert found.help == ("write `uint8` in place of `int8`: that reaches it",)
    plan = decided(three(), 'layers tensor "x" { activations uint8 }\n', head=STATIC).plan
    assert "x" in {each.tensor for each in plan.tensors}


def test_a_cure_that_does_not_hold_is_not_told() -> None:
    view = view_of("[tanh] t = Tanh (x) [erf] u = Erf (t) y = MatMul (u, a)", a=MATRIX)
    found = told(view, 'layers tensor "t" { activations int8 }\n')
    assert found.label.startswith("`t` stays float, as does `erf`, which reads it: no integer kernel")
    assert found.help == ("take it out, or pick other tensors",)


@pytest.mark.parametrize("names, counted", [('"n"', "1 node"), ('["n", "o"]', "2 nodes")])
def test_counts_agree_with_their_nouns(names: str, counted: str) -> None:
    view = view_of("m = MatMul (x, a) [n] u = Relu (m) [o] y = Relu (u)", a=MATRIX)
    assert told(view, f"layers {names} {{ weights int8 }}\n").label == f"{counted} picked, none takes it"


@pytest.mark.parametrize("names, which", [('"n"', "the picked node: it stays"), ('["n", "o"]', "any of the 2 picked")])
def test_nodes_that_stay_float_are_counted(names: str, which: str) -> None:
    view = view_of("m = MatMul (x, a) [n] u = Abs (m) [o] y = Abs (u)", a=MATRIX)
    found = told(view, f"layers {names} {{ weights int8 }}\n")
    assert found.code == "target-cannot" and f"does not reach {which}" in found.headline


@pytest.mark.parametrize(
    "mode, words",
    [
        ("quantize float { weights int8 storage_only }", "`storage_only` stores the constant float32 weights of Conv,"),
        ("quantize float { weights int8 }", "computes Gemm, MatMul with integer weights and float activations"),
        ("quantize float { weights float16 }", "constants of 128 values or more"),
        ("quantize float { }", "say what is to be smaller"),
        (
            "quantize static { weights int8 storage_only; activations uint8; range [-4, 4] }",
            "`storage_only` stores the constant float32 weights of Conv,",
        ),
        ("quantize static { weights int8; activations uint8; range [-4, 4] }", "computes Conv, Gemm, MatMul in"),
        ("quantize dynamic { weights int8 }", "computes Conv, Gemm, MatMul in"),
    ],
)
def test_a_mode_that_finds_nothing_says_what_it_can_do(mode: str, words: str) -> None:
    found = told(view_of("y = Abs (x)"), mode=mode)
    assert found.code == "nothing-to-quantize" and found.label.startswith("1 node, ")
    assert words in found.help[0]


@pytest.mark.parametrize("node", ["MatMul (x, a)", 'Einsum <equation = "btc,cd->btd"> (x, a)'])
def test_what_is_said_to_be_stored_is(node: str) -> None:
    mode = "quantize float { weights int8 storage_only }"
    (cure,) = told(view_of("y = Abs (x)"), mode=mode).help
    assert f" {node.split()[0]}," in cure
    head = STATIC.replace(STATIC.splitlines()[2], mode)
    assert [weight.tensor for weight in decided(view_of(f"y = {node}", a=MATRIX), head=head).plan.weights] == ["a"]


def test_what_keeps_a_float16_node_in_float32_is_named() -> None:
    found = told(
        view_of("[mm] y = MatMul (x, a)", a=MATRIX), mode="quantize float { weights float32; activations float16 }"
    )
    assert "mm: its weights are float32 by request" in found.label


@pytest.mark.parametrize(
    ("number", "nouns", "told"),
    [
        (0, ("node",), "0 nodes"),
        (1, ("node",), "1 node"),
        (1, ("class", "classes"), "1 class"),
        (2, ("class", "classes"), "2 classes"),
    ],
)
def test_a_count_in_words(number: int, nouns: tuple[str, ...], told: str) -> None:
    assert count(number, *nouns) == told
