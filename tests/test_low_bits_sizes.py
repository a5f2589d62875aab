"""The size that a plan foresees for weights of few bits is that of the file but for names, over modes, types,
granularities and operators."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_cuts import compiled
from test_low_bits import MODES

from qdsl.diag import QdslError

TYPES = ("int4", "uint4", "int2", "uint2", "int8", "6 bit")
WHERE = ("per_tensor", "per_channel", "per_block 16")
# What a file of one layer has beside that: the graph's names and types, which lowerings change. A weight in twice
# the bits would be 1024 bytes off at least.
_NAMES = 320


def project(folder: Path, op: str, mode: str, words: str, channels: int) -> Path:
    """One `op` of 64 inputs and `channels` outputs, and a Relu."""
    draw = np.random.default_rng(0)
    shape, attributes = {
        "Conv": ((channels, 64, 3, 3), {"pads": [1, 1, 1, 1]}),
        "Gemm": ((channels, 64), {"transB": 1}),
        "MatMul": ((64, channels), {}),
    }[op]
    read = [1, 64, 6, 6] if op == "Conv" else [4, 64]
    written = [1, channels, 6, 6] if op == "Conv" else [4, channels]
    constants = {"w": draw.standard_normal(shape), "b": draw.standard_normal(channels)}
    names = ["w"] if op == "MatMul" else ["w", "b"]
    graph = helper.make_graph(
        [
            helper.make_node(op, ["x", *names], ["c"], "layer", **attributes),
            helper.make_node("Relu", ["c"], ["y"], "relu"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, read)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, written)],
        [numpy_helper.from_array(constants[name].astype(np.float32), name) for name in names],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "model.onnx"
    )
    np.savez(folder / "calib.npz", x=draw.uniform(-1, 1, (4, *read)).astype(np.float32))
    data = 'data calib from npz "calib.npz"\n' if "calib" in mode else ""
    recipe = folder / "low.q"
    recipe.write_text(f'recipe low\nmodel onnx "model.onnx"\n{data}quantize {mode.format(words)}\ntarget ort\n')
    return recipe


def off(folder: Path, op: str, mode: str, words: str, channels: int) -> int | None:
    """By how many bytes the foreseen size is off; None where the target refuses."""
    try:
        (built,) = compiled(project(folder, op, mode, words, channels)).targets
    except QdslError as refused:
        assert {each.code for each in refused.diagnostics} <= {"target-cannot"}
        return None
    assert built.emitted.size == built.emitted.model.stat().st_size
    return abs(built.plan.totals.predicted_bytes - built.emitted.size)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul"])
@pytest.mark.parametrize("mode", MODES)
def test_the_foreseen_size_is_the_file_s(op: str, mode: str, tmp_path: Path) -> None:
    told = 0
    for name, where, channels in product(TYPES, WHERE, (64, 63)):
        stored = " storage_only" if "int" in name and name != "int8" else ""
        wrong = off(tmp_path, op, MODES[mode], f"{name} {where}{stored}", channels)
        assert wrong is None or wrong <= _NAMES, (name, where, channels)
        told += wrong is not None
    assert told >= 18
