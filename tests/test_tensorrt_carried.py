"""What TensorRT carries a pair over, on the smallest graphs: predicted, and built by TensorRT-RTX."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from quantized import PER_CHANNEL, Measured, SmallPlan, model_of, scheme, tensor, weight
from tensorrt_plans import TABLE

from qdsl.engines.rtx import examining, places
from qdsl.graph import to_proto
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.spec.engine import BUILT, DROPPED, INT8
from qdsl.spec.plan import TensorPlan
from qdsl.targets.tensorrt.runtime import TensorrtRuntime

POOL = "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>"
ZEROS = "pads = Constant <value_ints = [0, 0, 1, 1, 0, 0, 1, 1]> ()"
W8 = scheme("int8", True, granularity=PER_CHANNEL)

# What stands before `conv`, who reads through pairs, and what `conv` computes in.
CASES: dict[str, tuple[str, dict[str, list[tuple[str, int]]], str]] = {
    "a pair of its own": ("m = Relu (x) [conv] y = Conv (m, w)", {"m": [("conv", 0)]}, INT8),
    "MaxPool": (f"[pool] m = {POOL} (x) [conv] y = Conv (m, w)", {"x": [("pool", 0)]}, INT8),
    "Transpose": (
        "[turn] m = Transpose <perm = [0, 1, 3, 2]> (x) [conv] y = Conv (m, w)",
        {"x": [("turn", 0)]},
        INT8,
    ),
    "Relu": ("[relu] m = Relu (x) [conv] y = Conv (m, w)", {"x": [("relu", 0)]}, DROPPED),
    "MaxPool, read in float beside it": (
        f"[pool] m = {POOL} (x) [conv] y = Conv (m, w) [other] z = Relu (m)",
        {"x": [("pool", 0)]},
        INT8,
    ),
    "MaxPool, with a pair behind it": (
        f"[pool] m = {POOL} (x) [conv] y = Conv (m, w) [other] z = Relu (m)",
        {"x": [("pool", 0)], "m": [("other", 0)]},
        DROPPED,
    ),
    "MaxPool, with a pair behind what moves it": (
        f"[pool] m = {POOL} (x) [conv] y = Conv (m, w) [turn] t = Transpose <perm = [0, 1, 3, 2]> (m) "
        "[other] z = Relu (t)",
        {"x": [("pool", 0)], "t": [("other", 0)]},
        DROPPED,
    ),
    "Transpose, with a pair behind it": (
        "[turn] m = Transpose <perm = [0, 1, 3, 2]> (x) [conv] y = Conv (m, w) [other] z = Relu (m)",
        {"x": [("turn", 0)], "m": [("other", 0)]},
        INT8,
    ),
    "Pad": (f"{ZEROS} [pad] m = Pad (x, pads) [conv] y = Conv (m, w)", {"x": [("pad", 0)]}, INT8),
    "Pad behind Transpose": (
        f"{ZEROS} [turn] t = Transpose <perm = [0, 1, 3, 2]> (x) [pad] m = Pad (t, pads) [conv] y = Conv (m, w)",
        {"x": [("turn", 0)]},
        INT8,
    ),
    "Pad, read by another": (
        f"{ZEROS} [pad] m = Pad (x, pads) [conv] y = Conv (m, w) [other] z = Relu (m)",
        {"x": [("pad", 0)]},
        DROPPED,
    ),
    "Pad of ones": (
        f"{ZEROS} one = Constant <value_float = 1.0> () [pad] m = Pad (x, pads, one) [conv] y = Conv (m, w)",
        {"x": [("pad", 0)]},
        DROPPED,
    ),
}
OTHERS = {name for name, (text, _, _) in CASES.items() if "[other]" in text}
SHAPES = {"w": (16, 16, 1, 1)}


def made(name: str) -> tuple[str, bytes]:
    """What `conv` is predicted to run as, and the file."""
    text, pairs, _ = CASES[name]
    outputs = "float[A, B, C, D] y" + (", float[E, F, G, H] z" if name in OTHERS else "")
    model = model_of(f"net (float[1, 16, 16, 16] x) => ({outputs}) {{ {text} }}", **SHAPES)
    int8 = scheme("int8", True)
    tensors: list[TensorPlan] = [tensor(one, *readers, of=int8) for one, readers in pairs.items()]
    plan = SmallPlan(tuple(tensors), (weight("conv", 1, "w", W8),))
    said = TensorrtRuntime().predict(model.view(), {each.tensor: each for each in tensors}, plan.weights, (), TABLE)
    ends = {each.tensor: 2.0 + number for number, each in enumerate(tensors)}
    InsertQDQ(plan, Measured({each: -end for each, end in ends.items()}, ends)).apply(model)
    return said["conv"].runs, to_proto(model).SerializeToString()


@pytest.mark.parametrize("name", CASES)
def test_what_a_pair_is_carried_over_is_predicted(name: str) -> None:
    assert made(name)[0] == ("integer" if CASES[name][2] == INT8 else "float")


@pytest.mark.slow
@pytest.mark.rtx
@pytest.mark.skipif(places.place() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")
@pytest.mark.parametrize("name", CASES)
def test_what_a_pair_is_carried_over_is_built_so(name: str) -> None:
    seen = examining.examine(onnx.load_from_string(made(name)[1])).seen
    assert (seen.stage, seen.verdicts["conv"].verdict) == (BUILT, CASES[name][2])


@pytest.mark.slow
@pytest.mark.rtx
@pytest.mark.skipif(places.place() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")
def test_layers_of_one_integer_product_are_both_in_int8() -> None:
    """Weights of one value per channel are all 127 or -127: the builder multiplies once for both layers."""
    text = "[a] p = Conv (x, v) y = Relu (p) [b] q = Conv (x, w) z = Sigmoid (q)"
    outputs = "float[1, 3, 8, 8] y, float[1, 3, 8, 8] z"
    values = np.array([0.5, -0.25, 2.0], np.float32).reshape(3, 1, 1, 1)
    model = model_of(f"net (float[1, 1, 8, 8] x) => ({outputs}) {{ {text} }}", v=values, w=3 * values)
    plan = SmallPlan(
        (tensor("x", ("a", 0), ("b", 0), of=scheme("int8", True)),),
        (weight("a", 1, "v", W8), weight("b", 1, "w", W8)),
    )
    InsertQDQ(plan, Measured({"x": -2.0}, {"x": 2.0})).apply(model)
    found = examining.examine(to_proto(model)).seen.verdicts
    assert {name: each.verdict for name, each in found.items()} == {"a": INT8, "b": INT8}
    assert any("computed once" in each.because for each in found.values())
