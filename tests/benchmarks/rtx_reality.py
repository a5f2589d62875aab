"""What `rtx.py` holds against engines that TensorRT-RTX builds: random nets, compiled, and layers of any file that lose
the pair before them, one at a time. `tests/test_tensorrt_prediction.py` does it without compiling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import rtx_engine
from mutant_graph import Graph
from onnx import ModelProto
from random_graphs import random_model

import qdsl
from qdsl.harness.engine_checks import EngineCheck

RANDOM = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz" { array "image" "image" }
quantize static { calibrate minmax on calib }
target tensorrt
"""


def random_check(seed: int, folder: Path) -> EngineCheck:
    """An engine of a random net, compiled for `tensorrt`."""
    folder.mkdir(parents=True)
    model = random_model(seed)
    onnx.save(model, folder / "demo.onnx")
    shape = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    values = np.random.default_rng(seed).standard_normal((4, *shape[1:])).astype(np.float32)
    np.savez(folder / "calib.npz", image=values)
    (folder / "demo.q").write_text(RANDOM, encoding="utf-8")
    (found,) = qdsl.compile(folder / "demo.q", out=folder / "build", check="rtx", lock=False, measure=False).engines
    return found


def otherwise(check: EngineCheck) -> list[str]:
    """What an engine does otherwise than foretold, in words."""
    if check.stage != "built":
        return [f"{check.stage} {check.reason} {check.refused}"]
    return [f"{each.node}: {each.expect}, {each.verdict}" for each in check.nodes if each.contradicts]


def flips(model: ModelProto) -> Iterator[tuple[str, set[str], str]]:
    """Layers that read their data through a pair, each with the layers that are no longer in int8 once it reads floats
    instead, and where the engine ended if that was no engine."""
    whole = rtx_engine.examine(model)
    before = {name for name, verdict in whole.verdicts.items() if verdict == rtx_engine.INT8}
    for layer in Graph(model).layers():
        graph = Graph(model)
        node = next(each for each in graph.nodes if each.name == layer.node.name)
        pair = graph.pair_read(node, layer.data)
        if pair is None:
            continue
        node.input[layer.data] = pair.tensor
        graph.look()
        after = rtx_engine.examine(graph.done())
        ended = "" if after.stage == "built" else f"{after.stage} {after.reason}"
        yield str(node.name), {each for each in before if after.verdicts.get(each) != rtx_engine.INT8}, ended
