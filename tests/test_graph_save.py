"""Saving and constants: packing, external data, lazy and deferred values."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from graph_cases import conv_model, parse, weight_bytes, with_external
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import qdsl.graph
from qdsl.diag import QdslError
from qdsl.graph import edit, saving
from qdsl.graph.constants import from_raw, to_raw
from qdsl.graph.dtypes import number_of, type_name, type_number

PACKED = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}


@given(st.data(), st.sampled_from(sorted(PACKED)))
def test_low_bit_integers_survive_packing(data: st.DataObject, name: str) -> None:
    values = data.draw(st.lists(st.integers(*PACKED[name]), max_size=9))
    number = type_number(name)
    raw = to_raw(np.array(values, np.int8), number)
    assert from_raw(raw, number, (len(values),)).tolist() == values
    tensor = TensorProto(name="t", data_type=number, dims=[len(values)], raw_data=raw)
    assert numpy_helper.to_array(tensor).astype(int).tolist() == values, "onnx reads the same"


@pytest.mark.parametrize("name", sorted(PACKED))
def test_low_bit_constants_survive_reading_and_saving(name: str) -> None:
    low, high = PACKED[name]
    values = np.array([low, high, 0, 1, low, 0, high], np.int8)
    model = qdsl.graph.from_proto(parse("g (float[7] x) => (float[7] y) { y = Relu (x) }", 25))
    constant = edit.add_constant(model, "q", values, name)
    scale = edit.add_constant(model, "scale", np.float32(0.5))
    node = edit.add_node(model, "DequantizeLinear", [constant, scale], output_name="d", element_type="float32")
    readers = edit.readers_of(model.tensor("x"))
    added = edit.add_node(model, "Add", [model.tensor("x"), node.outputs[0]], like=model.tensor("x"))
    edit.replace_readers(model, added.outputs[0], readers)
    _ = constant.values, model.values("q")
    back = qdsl.graph.to_proto(model)
    again = qdsl.graph.from_proto(back)
    assert again.values("q").astype(int).tolist() == values.tolist()
    assert again.view().tensors["q"].dtype == name
    session = ort.InferenceSession(qdsl.graph.to_bytes(again))
    expected = np.maximum(1 + values * 0.5, 0)
    np.testing.assert_array_equal(session.run(None, {"x": np.ones(7, np.float32)})[0], expected)


@pytest.mark.parametrize(
    "dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.float16, np.bool_]
)
def test_other_types_keep_their_bits(dtype: type) -> None:
    values = np.array([0, 1, 1, 0]).astype(dtype)
    number = number_of(np.dtype(dtype))
    assert type_name(number) is not None
    assert from_raw(to_raw(values, number), number, (4,)).tobytes() == values.tobytes()


def test_external_data_is_mapped_not_read(tmp_path: Path) -> None:
    with_external(tmp_path / "m.onnx", "w.bin", b"\0" * 16 + weight_bytes(), offset=16)
    model = qdsl.graph.load(tmp_path / "m.onnx")
    values = model.values("w")
    assert isinstance(values.base, np.memmap) or isinstance(values, np.memmap)
    assert values.tobytes() == weight_bytes()
    qdsl.graph.save(model, tmp_path / "one.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "one.onnx", "w.bin"], (
        "a small model becomes one file"
    )
    assert numpy_helper.to_array(onnx.load(tmp_path / "one.onnx").graph.initializer[0]).tobytes() == weight_bytes()


@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../w.bin", "a/../../w.bin", "C:\\w.bin", "..\\w.bin", "", "link", "folder/link", "dir"]
)
def test_external_data_may_not_leave_its_directory(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(weight_bytes())
    home = tmp_path / "home"
    (home / "folder").mkdir(parents=True)
    (home / "dir").mkdir()
    (home / "link").symlink_to(tmp_path / "w.bin")
    (home / "folder" / "link").symlink_to(tmp_path / "w.bin")
    with_external(home / "m.onnx", location)
    with pytest.raises(QdslError, match=r"model-external-(path|missing)"):
        qdsl.graph.load(home / "m.onnx")


def test_a_link_that_stays_inside_is_fine(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(weight_bytes())
    (tmp_path / "link").symlink_to(tmp_path / "w.bin")
    with_external(tmp_path / "m.onnx", "link")
    assert qdsl.graph.load(tmp_path / "m.onnx").values("w").shape == (2, 3, 3, 3)


@pytest.mark.parametrize(("offset", "length"), [(1, None), (0, 10), (0, 2**60), (-4, None), ("x", None), (2**62, None)])
def test_offset_and_length_are_held_against_the_file(offset: int, length: int | None, tmp_path: Path) -> None:
    with_external(tmp_path / "m.onnx", "w.bin", weight_bytes(), offset=offset, length=length)
    with pytest.raises(QdslError, match="model-external-size"):
        qdsl.graph.load(tmp_path / "m.onnx")


def test_external_data_without_a_file_is_refused(tmp_path: Path) -> None:
    with_external(tmp_path / "m.onnx", "w.bin", weight_bytes())
    proto = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with pytest.raises(QdslError, match="model-external-missing"):
        qdsl.graph.from_proto(proto)


def test_large_models_get_one_data_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LARGEST_INLINE", 1000)
    monkeypatch.setattr(saving, "_SMALL_BYTES", 100)
    model = qdsl.graph.from_proto(conv_model())
    edit.add_node(
        model,
        "Add",
        [model.tensor("y"), edit.add_deferred(model, "late", "float32", (400,), lambda: np.ones(400, np.float32))],
    )
    files = qdsl.graph.save(model, tmp_path / "m.onnx")
    assert [path.suffix for path in files] == [".onnx", ".data"]
    again = qdsl.graph.load(tmp_path / "m.onnx")
    assert again.values("w").tobytes() == weight_bytes() and again.values("late").tolist() == [1.0] * 400
    assert qdsl.graph.save(again, tmp_path / "m.onnx") == files, "saving over the source keeps the data that is read"
    assert qdsl.graph.load(tmp_path / "m.onnx").values("w").tobytes() == weight_bytes()
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(QdslError, match="model-too-large"):
        qdsl.graph.to_bytes(again)


def test_a_failed_save_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    target.write_bytes(b"before")
    model = qdsl.graph.from_proto(conv_model())

    def fail() -> np.ndarray:
        raise OSError(28, "No space left on device")

    edit.add_node(model, "Add", [model.tensor("y"), edit.add_deferred(model, "late", "float32", (4,), fail)])
    with pytest.raises(QdslError, match="model-write"):
        qdsl.graph.save(model, target)
    assert target.read_bytes() == b"before" and [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_non_finite_weights_are_found_wherever_they_are_stored(tmp_path: Path) -> None:
    values = np.frombuffer(weight_bytes(), np.float32).copy()
    values[[5, 9]] = np.nan, np.inf
    with_external(tmp_path / "m.onnx", "w.bin", values.tobytes())
    (found,) = qdsl.graph.non_finite_constants(qdsl.graph.load(tmp_path / "m.onnx"))
    assert (found.name, found.nans, found.infinities, found.index) == ("w", 1, 1, 5)
    mask = parse("g (float[2] x) => (float[2] y) { y = Add (x, m) }")
    mask.graph.initializer.append(numpy_helper.from_array(np.array([0, -np.inf], np.float32), "m"))
    assert qdsl.graph.non_finite_constants(qdsl.graph.from_proto(mask)) == (), "an attention mask is meant"


_BIG = """
import sys
from pathlib import Path
import qdsl.graph
from qdsl.passes.pipeline import canonicalise
model = qdsl.graph.load(sys.argv[1])
assert len(model.view().nodes) == 16
assert canonicalise(model).counts["fold_batchnorm"] == 8
assert model.view().tensors["n7"].shape == (1, 8192, 1, 1)
if len(sys.argv) > 2:
    qdsl.graph.save(model, sys.argv[2])
status = Path("/proc/self/status")  # not ru_maxrss: that begins at the size of the parent
lines = status.read_text().splitlines() if status.exists() else ["VmHWM: 0"]
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""


def _big_model(path: Path) -> None:
    """Eight pairs of Conv [8192, 8192, 1, 1] and BatchNormalization: 2.1 GB of sparse external file."""
    width, nodes, constants, before = 8192, [], [], "x"
    size = width * width * 4
    with (path.parent / "w.bin").open("wb") as file:
        file.truncate(8 * size)
    for name in ("gamma", "var"):
        constants.append(numpy_helper.from_array(np.full(width, 2, np.float32), name))
    for name in ("beta", "mean"):
        constants.append(numpy_helper.from_array(np.full(width, 0.5, np.float32), name))
    for i in range(8):
        tensor = TensorProto(name=f"w{i}", data_type=1, dims=[width, width, 1, 1], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "w.bin"), ("offset", i * size), ("length", size)):
            tensor.external_data.add(key=key, value=str(value))
        constants.append(tensor)
        nodes.append(helper.make_node("Conv", [before, f"w{i}"], [f"c{i}"], name=f"conv{i}"))
        nodes.append(helper.make_node("BatchNormalization", [f"c{i}", "gamma", "beta", "mean", "var"], [f"n{i}"]))
        before = f"n{i}"
    ends = [helper.make_tensor_value_info(name, 1, [1, width, 1, 1]) for name in ("x", before)]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], constants)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _peak_mb(*arguments: str) -> float:
    """Peak memory of a fresh process that canonicalises a model."""
    command = [sys.executable, "-c", _BIG, *arguments]
    root = Path(__file__).parent.parent
    done = subprocess.run(command, check=True, cwd=root, env=_env(), stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) / 1000


def _env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}


@pytest.mark.slow
def test_two_gigabytes_are_viewed_and_canonicalised_in_little_memory(tmp_path: Path) -> None:
    _big_model(tmp_path / "m.onnx")
    assert _peak_mb(str(tmp_path / "m.onnx")) < 1000


@pytest.mark.slow
def test_two_gigabytes_are_saved_by_streaming(tmp_path: Path) -> None:
    _big_model(tmp_path / "m.onnx")
    _peak_mb(str(tmp_path / "m.onnx"), str(tmp_path / "out.onnx"))
    data = next(tmp_path.glob("out.onnx.*.data"))
    assert data.stat().st_size >= 8 * 8192 * 8192 * 4
    assert qdsl.graph.load(tmp_path / "out.onnx").values("w3_folded").shape == (8192, 8192, 1, 1)
