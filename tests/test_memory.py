"""Models larger than memory should hold are planned without reading their weights."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import tracemalloc
from importlib import import_module
from pathlib import Path

import onnx
import pytest
from compile_tools import HEAD, ROOT, environment
from onnx import TensorProto, helper
from seeds import few_of

from qdsl.diag import QdslError

SIDE = 4096
LAYERS = 32
GIB = 2**30


def large_model(folder: Path) -> int:
    """A chain of Gemm, MatMul and Conv with 4096 x 4096 float weights outside the file; the bytes outside it. The data
    file is sparse: zeros that take no disk."""
    nodes, weights, last = [], [], "x"
    for index in range(LAYERS):
        op = ("Gemm", "MatMul", "Conv")[index % 3]
        weight, out = f"w{index}", f"t{index}"
        if op == "Conv":
            nodes.append(helper.make_node("Reshape", [last, "image"], [f"r{index}"], name=f"to_image{index}"))
            nodes.append(helper.make_node("Conv", [f"r{index}", weight], [f"c{index}"], name=f"conv{index}"))
            nodes.append(helper.make_node("Reshape", [f"c{index}", "row"], [out], name=f"to_row{index}"))
        else:
            nodes.append(helper.make_node(op, [last, weight], [out], name=f"{op.lower()}{index}"))
        dims = [SIDE, SIDE, 1, 1] if op == "Conv" else [SIDE, SIDE]
        tensor = TensorProto(name=weight, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        place = {"location": "weights.bin", "offset": index * SIDE * SIDE * 4, "length": SIDE * SIDE * 4}
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
        last = out
    shapes = {"image": [1, SIDE, 1, 1], "row": [1, SIDE]}
    for name, shape in shapes.items():
        weights.append(helper.make_tensor(name, TensorProto.INT64, [len(shape)], shape))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE]) for name in ("x", last)]
    graph = helper.make_graph(nodes, "large", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "demo.onnx").write_bytes(model.SerializeToString())
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(LAYERS * SIDE * SIDE * 4)
        for index in range(LAYERS):  # no two alike, or they would be stored once
            file.seek(index * SIDE * SIDE * 4)
            file.write(struct.pack("<f", index + 1))
    return LAYERS * SIDE * SIDE * 4


# Runs a verb and prints the peak on stderr. What the kernel tells the parent (ru_maxrss) begins at the parent's own
# size where the child is made by vfork, so the process asks for its own high-water mark.
PROGRAM = """
import sys
from pathlib import Path
from qdsl.cli import main
code = main(sys.argv[1:])
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
sys.exit(code)
"""


def peak_of(words: list[str], stdout: Path) -> tuple[int, int]:
    """Exit code and peak resident bytes of one verb in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory of a process is read from /proc")
    command = [sys.executable, "-c", PROGRAM, *words]
    with stdout.open("wb") as sink:
        done = subprocess.run(command, env=environment(), stdout=sink, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, int(done.stderr.splitlines()[-1]) * 1024


@pytest.mark.slow
def test_two_gigabytes_are_planned_in_less_than_one(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    size = large_model(tmp_path)
    assert size >= 2 * GIB
    (tmp_path / "demo.q").write_text(HEAD, encoding="utf-8")
    code, peak = peak_of(["plan", str(tmp_path / "demo.q"), "--json"], tmp_path / "plan.json")
    record_property("peak_mib", peak // 2**20)
    assert code == 0
    (plan,) = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))["plans"]
    assert len(plan["weights"]) == LAYERS
    assert abs(plan["totals"]["predicted_bytes"] - size / 4) < 0.01 * size
    assert peak < GIB


GROWN = """net (float[1, 3, 8, 8] x) => (float[1, 4, 8, 8] y) <float[1] d0 = {1}, int64[1] half = {33554432}> {
  c = Conv <kernel_shape = [1, 1]> (x, w) %s m = ReduceMax <keepdims = 0> (last) y = Add (c, m) }"""
BOMBS = {
    "joints of joints": " ".join(f"d{i + 1} = Concat <axis = 0> (d{i}, d{i})" for i in range(26)) + " last = Neg (d26)",
    "many constants of 16 MiB": " ".join(
        [
            "size = Constant <value_ints = [4194304]> ()",
            *(f"k{i} = ConstantOfShape (size) m{i} = ReduceMax <keepdims = 0> (k{i})" for i in range(200)),
            f"last = Max ({', '.join(f'm{i}' for i in range(200))})",
        ]
    ),
    "a joint of a vector of a computed length": (
        "s = Add (half, half) f = ConstantOfShape (s) last = Concat <axis = 0> (f, f)"
    ),
    "a joint of a flattened product": (
        "a = ConstantOfShape (k) b = ConstantOfShape (l) p = Add (a, b) r = Reshape (p, flat)"
        " last = Concat <axis = 0> (r, r) k = Constant <value_ints = [8192, 1]> ()"
        " l = Constant <value_ints = [1, 8192]> () flat = Constant <value_ints = [-1]> ()"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", few_of(BOMBS, 2))
def test_a_small_file_cannot_ask_for_much_memory(bomb: str, tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {GROWN % BOMBS[bomb]}')
    weights = [((3 * i + 1) % 7) / 7 for i in range(12)]
    proto.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 1, 1], weights))
    onnx.save(proto, tmp_path / "demo.onnx")
    (tmp_path / "demo.q").write_text(HEAD, encoding="utf-8")
    code, peak = peak_of(["plan", str(tmp_path / "demo.q")], tmp_path / "plan.txt")
    assert code == 0
    assert peak < 400 * 2**20


def test_the_large_model_is_large_on_paper_alone(tmp_path: Path) -> None:
    size = large_model(tmp_path)
    assert (tmp_path / "weights.bin").stat().st_size == size == 2 * GIB
    assert (tmp_path / "weights.bin").stat().st_blocks * 512 < size // 100
    onnx.checker.check_model(str(tmp_path / "demo.onnx"))
    assert ROOT not in tmp_path.parents


@pytest.mark.parametrize(
    "module, call, name",
    [
        ("qdsl.harness.reading", "read", "measurements.json"),
        ("qdsl.lock.text", "read", "r.lock"),
        ("qdsl.lang.loading", "load", "r.q"),
    ],
)
def test_a_small_file_takes_little_memory_to_read(module: str, call: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text("what it holds does not matter")
    read = getattr(import_module(module), call)
    with pytest.raises(QdslError):
        read(path)
    tracemalloc.start()
    with pytest.raises(QdslError):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20
