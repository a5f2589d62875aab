"""Plan and rewrite of synthetic graphs, against what the libraries underneath take to read and write the same file.

Bounds: at 20,000 nodes at most 12 times onnx load + shape inference + graphsurgeon import and export, and at most
1.3 times the time per node of a 5,000-node graph.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from common import Row, alternate, arguments, finish, machine, median
from onnx import TensorProto, helper, numpy_helper

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostics
from qdsl.graph import to_proto
from qdsl.targets.ort.emit import quantize
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

RECIPE = """recipe scale
model onnx "graph.onnx"
data calib from npz "calib/*.npz"
quantize static { calibrate minmax on calib }
target ort
"""


def chain(nodes: int) -> onnx.ModelProto:
    """Blocks of Conv, Relu, Conv, Add (a residual) and Sigmoid with small weights: about `nodes` nodes."""
    generator = np.random.default_rng(1)
    made: list[onnx.NodeProto] = []
    weights = []
    last = "x"
    for block in range(nodes // 5):
        for conv in ("a", "b"):
            values = generator.normal(0, 0.2, (4, 4, 1, 1)).astype(np.float32)
            weights.append(numpy_helper.from_array(values, f"{block}{conv}.w"))
        names = [f"{block}.{k}" for k in range(5)]
        made += [
            helper.make_node("Conv", [last, f"{block}a.w"], [names[0]], f"/{block}/a/Conv"),
            helper.make_node("Relu", [names[0]], [names[1]], f"/{block}/Relu"),
            helper.make_node("Conv", [names[1], f"{block}b.w"], [names[2]], f"/{block}/b/Conv"),
            helper.make_node("Add", [names[2], last], [names[3]], f"/{block}/Add"),
            helper.make_node("Sigmoid", [names[3]], [names[4]], f"/{block}/Sigmoid"),
        ]
        last = names[4]
    shape = [1, 4, 8, 8]
    graph = helper.make_graph(
        made,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def libraries(path: Path) -> float:
    """Seconds that onnx load, shape inference and graphsurgeon import and export take."""
    start = time.perf_counter()
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    gs.export_onnx(gs.import_onnx(model))
    return time.perf_counter() - start


def ours(folder: Path) -> float:
    """Seconds from the recipe's text to the QDQ model in memory: load, canonicalise, plan, insert, export. The ranges
    are given, since calibration is the runtime's time and not ours."""
    start = time.perf_counter()
    prepared = prepare(read(folder / "scale.q", {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    names = sorted(tensor.tensor for tensor in decided.plan.tensors)
    ranges = Ranges(dict.fromkeys(names, -1.0), dict.fromkeys(names, 1.0), 1, 1)
    quantized, _ = quantize(prepared.model, decided.plan, ranges)
    to_proto(quantized)
    return time.perf_counter() - start


def main() -> int:
    args = arguments(__doc__ or "", runs=3)
    with tempfile.TemporaryDirectory() as temporary:
        sides = {}
        for nodes in (5_000, 20_000):
            folder = Path(temporary) / str(nodes)
            folder.mkdir()
            onnx.save(chain(nodes), str(folder / "graph.onnx"))
            (folder / "calib").mkdir()
            np.savez(folder / "calib" / "0.npz", x=np.zeros((1, 4, 8, 8), np.float32))
            (folder / "scale.q").write_text(RECIPE, encoding="utf-8")
            sides[f"libraries {nodes}"] = lambda folder=folder: libraries(folder / "graph.onnx")
            sides[f"ours {nodes}"] = lambda folder=folder: ours(folder)
        taken = {name: median(values) for name, values in alternate(sides, args.runs).items()}
    print(f"{machine()}; median of {args.runs} alternating runs")
    for name, seconds in taken.items():
        print(f"  {name}: {seconds:.2f} s")
    rows = [
        Row("plan + rewrite / libraries, 20,000 nodes", taken["ours 20000"] / taken["libraries 20000"], "x", 12.0),
        Row("time per node, 20,000 / 5,000 nodes", taken["ours 20000"] / taken["ours 5000"] / 4, "x", 1.3),
    ]
    return finish(rows, args.check)


if __name__ == "__main__":
    sys.exit(main())
