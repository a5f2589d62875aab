"""Nodes that make no sense, with constants that make none: whatever loads is read, and never fails."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from seeds import few_of

from qdsl.diag import QdslError
from qdsl.finished.collapse import collapse
from qdsl.finished.fakes import GRIDS
from qdsl.finished.operators import KERNELS
from qdsl.finished.packed import PACKED
from qdsl.finished.reading import read
from qdsl.graph import from_proto
from qdsl.graph.moves import MOVES

OPS = [
    *("QuantizeLinear", "DequantizeLinear", "Clip", "Round", "Mul", "Div", "Cast", "Constant", "Add") * 2,
    *(*KERNELS, "QLinearConcat", *sorted(PACKED), *GRIDS, "TRT_FP8QuantizeLinear", *MOVES),
]
DOMAINS = ["", "com.microsoft", "qonnx.custom_op.general", "trt"]
ATTRIBUTES: dict[str, list[Any]] = {
    **{name: [0, 1, -1, 5, -9, 2**62] for name in ("axis", "quantize_axis")},
    **{name: [0, 2, 16, -1, 2**40] for name in ("block_size", "bits", "N", "K", "levels", "quant_type")},
    **{name: [0, 1, 9] for name in ("signed", "narrow", "transB", "quant_min", "output_dtype")},
    "to": [1, 3, 10, 22],
    "perm": [[0, 1], [1, 0], [0, 1, 2]],
    "alpha": [0.5],
}
BYTES = {"FLOAT": 4, "INT32": 4, "INT64": 8, "DOUBLE": 8, "FLOAT16": 2, "BFLOAT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1}
SHAPES: list[list[int]] = [[], [1], [2], [4], [2, 4], [0], [1, 2, 2], [4, 1]]


def constant(rng: random.Random, name: str) -> TensorProto:
    shape = rng.choice(SHAPES)
    count = int(np.prod(shape))
    kind = rng.choice([*BYTES, "INT4", "UINT4", "FLOAT8E4M3FN", "STRING"])
    if kind == "STRING":
        return helper.make_tensor(name, TensorProto.STRING, shape, [b"a"] * count)
    size = (count + 1) // 2 if kind in ("INT4", "UINT4") else count * BYTES.get(kind, 1)
    data = bytes(rng.choice([0, 0, 1, 0x3F, 0x80, 255, rng.randrange(256)]) for _ in range(size))
    return TensorProto(name=name, data_type=TensorProto.DataType.Value(kind), dims=shape, raw_data=data)


def nonsense(rng: random.Random) -> onnx.ModelProto:
    """Up to eight nodes of any operator and domain that read anything."""
    constants = [constant(rng, f"c{at}") for at in range(6)]
    names, nodes = ["x", "u", *(each.name for each in constants)], []
    for at in range(rng.randrange(1, 9)):
        op = rng.choice(OPS)
        outputs = [f"t{at}_{port}" for port in range(rng.choice([1, 1, 1, 2, 3]))]
        attrs = {name: rng.choice(values) for name, values in ATTRIBUTES.items() if rng.random() < 0.25}
        inputs = [rng.choice([*names, *names[-6:], ""]) for _ in range(rng.choice([1, 2, 3, 3, 4, 8, 9]))]
        if op == "Constant":
            inputs, attrs = [], {"value": rng.choice(constants)}
        nodes.append(helper.make_node(op, inputs, outputs, name=f"n{at}", domain=rng.choice(DOMAINS), **attrs))
        names += outputs
    made = [name for name in names if name.startswith("t")]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 4]),
            helper.make_tensor_value_info("u", TensorProto.UINT8, rng.choice([None, [2, 4]])),
        ],
        [helper.make_tensor_value_info(rng.choice(made), TensorProto.FLOAT, None)],
        constants,
    )
    graph.output[0].ClearField("type")
    domains = [helper.make_opsetid("", rng.choice([13, 17, 21, 23])), *(helper.make_opsetid(d, 1) for d in DOMAINS[1:])]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


@pytest.mark.slow
@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("first", few_of(range(0, 6000, 300), 1))
def test_nonsense(first: int) -> None:
    looked = 0
    for seed in range(first, first + 300):
        try:
            model = from_proto(nonsense(random.Random(seed)))
        except QdslError:
            continue
        found = read(model)
        collapse(found)
        looked += found.quantized
    assert looked > 30
