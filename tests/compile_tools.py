"""Whole recipes in a temporary folder, compiled through the library or in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from qdsl.data import ModelInput
from qdsl.data import open as open_data
from qdsl.diag import Diagnostics
from qdsl.work.prepared import prepare, read

ROOT = Path(__file__).resolve().parent.parent

# stem -> relu -> two branches joined by Concat; a residual Add around conv; a classifier.
RESIDUAL = """
net (float[1, 3, 8, 8] x) => (float[1, 5] y) {
  [stem] s = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1, b1)
  [relu1] r = Relu (s)
  [inner] c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, w2, b2)
  [add] a = Add (c, r)
  [relu2] t = Relu (a)
  [left] l = Conv <kernel_shape = [1, 1]> (t, w3, b3)
  [right] q = Conv <kernel_shape = [1, 1]> (t, w4, b4)
  [concat] j = Concat <axis = 1> (l, q)
  [pool] p = GlobalAveragePool (j)
  [flatten] f = Flatten (p)
  [gemm] y = Gemm <transB = 1> (f, w5, b5)
}
"""
SHAPES = {
    "w1": (4, 3, 3, 3),
    "b1": (4,),
    "w2": (4, 4, 3, 3),
    "b2": (4,),
    "w3": (4, 4, 1, 1),
    "b3": (4,),
    "w4": (4, 4, 1, 1),
    "b4": (4,),
    "w5": (5, 8),
    "b5": (5,),
}
HEAD = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate minmax on calib
}
target ort

"""


def residual_net() -> onnx.ModelProto:
    """The small net above with fixed weights; the Concat's branches have different ranges."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {RESIDUAL}')
    draw = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        values = draw.standard_normal(shape).astype(np.float32) * np.float32(3.0 if name == "w4" else 1.0)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def project(folder: Path, rules: str = "", *, head: str = HEAD, proto: onnx.ModelProto | None = None) -> Path:
    """A recipe `demo.q` with its model and data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(proto or residual_net(), folder / "demo.onnx")
    shape = [d.dim_value for d in (proto or residual_net()).graph.input[0].type.tensor_type.shape.dim]
    array = np.random.default_rng(1).standard_normal((6, *shape[1:])).astype(np.float32)
    np.savez(folder / "calib.npz", x=array)
    (folder / "demo.q").write_text(head + rules, encoding="utf-8")
    return folder / "demo.q"


def cli(*words: object, env: Mapping[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m qdsl ...` in a process of its own."""
    said = [sys.executable, "-m", "qdsl", *map(str, words)]
    return subprocess.run(said, capture_output=True, text=True, cwd=cwd, env=environment(env), check=False, timeout=280)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment, with this checkout importable and few threads."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(more or {})}


def session(path: Path | str, optimized: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def samples(recipe: Path) -> Iterator[Mapping[str, Any]]:
    """The inputs that the recipe's `calib` makes, one sample after the other."""
    prepared = prepare(read(recipe, {}))
    view = prepared.view
    takes = {n: ModelInput(view.tensors[n].dtype or "float32", view.tensors[n].shape) for n in view.inputs}
    dataset = open_data(prepared.recipe.dataset("calib"), prepared.recipe.inputs, takes, Diagnostics())
    return (sample.arrays for sample in dataset)


def artifacts(folder: Path) -> dict[str, bytes]:
    """The same without what says how a build was measured: that depends on the data that is there."""
    told = ("measurements.json", "report.html", "/bench/", "/pictures/")
    return {name: content for name, content in tree(folder).items() if not any(word in f"/{name}" for word in told)}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones included, by relative name."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
