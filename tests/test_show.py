"""`show`: what a file holds and where it comes from, whether that still holds, and its integers as plain files, from
which a layer can be computed anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import HEAD, project, tree
from onnx import ModelProto, TensorProto, helper, numpy_helper
from seeds import few_of

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.exporting.exporting import FOLDER, LAYOUT, MANIFEST
from qdsl.exporting.files import lines
from qdsl.exporting.integers import portable
from qdsl.exporting.names import file_name
from qdsl.provenance.records import KEY

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT.parent / "shared" / "testdata" / "audit_corpus"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe, its lock and its build."""
    folder = tmp_path_factory.mktemp("home")
    qdsl.compile(project(folder), out=folder / "build", measure=False)
    return folder


def model_in(home: Path) -> Path:
    return home / "build" / "demo" / "ort" / "model.onnx"


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    """A copy of all of it that a test may change; the model stands beside the recipe."""
    for name in ("demo.q", "demo.lock", "demo.onnx"):
        (tmp_path / name).write_bytes((home / name).read_bytes())
    (tmp_path / "model.onnx").write_bytes(model_in(home).read_bytes())
    return tmp_path


def states(result: qdsl.ShowResult) -> dict[str, str]:
    return {found.what: found.state for found in result.agreements}


def words(result: qdsl.ShowResult, what: str) -> str:
    (found,) = [found for found in result.agreements if found.what == what]
    return "; ".join(found.told)


# ---- agreement -------------------------------------------------------------------------------------------------------


def test_what_was_just_made_agrees(home: Path) -> None:
    result = qdsl.show(model_in(home), recipe=home / "demo.q")
    assert states(result) == dict.fromkeys(("file", "recipe", "model", "lock"), "same") and result.agrees
    assert result.recipe == (home / "demo.q").read_text(encoding="utf-8")
    held = {(each.role, each.element, each.granularity): each.count for each in result.quantities}
    assert held["weight", "int8", "per_channel"] == 5 and held["bias", "int32", "per_channel"] == 5
    assert result.operators["QuantizeLinear"] == held["activation", "uint8", "per_tensor"]


def test_a_recipe_beside_the_file_is_found_by_its_name(own: Path) -> None:
    assert states(qdsl.show(own / "model.onnx")) == dict.fromkeys(("file", "recipe", "model", "lock"), "same")


def test_without_a_recipe_nothing_is_said_of_it(home: Path) -> None:
    result = qdsl.show(model_in(home))
    assert states(result) == {"file": "same", "recipe": "unknown", "lock": "unknown"} and result.agrees


def edit(path: Path, change: Callable[[ModelProto], object]) -> None:
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)


def test_a_file_that_was_edited_says_so(own: Path) -> None:
    edit(own / "model.onnx", lambda proto: setattr(proto.graph.node[0], "name", "other"))
    result = qdsl.show(own / "model.onnx")
    assert states(result)["file"] == "changed" and not result.agrees
    assert words(result, "file") == "its nodes are not those that were written"


def test_a_changed_recipe_shows_the_lines(own: Path) -> None:
    text = (own / "demo.q").read_text(encoding="utf-8")
    (own / "demo.q").write_text(text.replace("uint8 affine", "int8 affine"), encoding="utf-8")
    result = qdsl.show(own / "model.onnx")
    assert states(result) == {"file": "same", "recipe": "changed", "model": "same", "lock": "same"}
    (held,) = [found for found in result.agreements if found.what == "recipe"]
    assert held.told == ("demo.q changed",)
    assert [line for line in held.diff if line[:1] in "+-"][2:] == [
        "-  activations uint8 affine per_tensor",
        "+  activations int8 affine per_tensor",
    ]


def test_a_comment_changes_the_text_and_not_what_it_says(own: Path) -> None:
    with (own / "demo.q").open("a", encoding="utf-8") as file:
        file.write("# a word\n")
    assert "says the same" in words(qdsl.show(own / "model.onnx"), "recipe")


def test_a_recipe_that_is_broken_now_is_told(own: Path) -> None:
    (own / "demo.q").write_text("recipe demo\nmodle\n", encoding="utf-8")
    result = qdsl.show(own / "model.onnx")
    assert states(result)["recipe"] == "unknown" and "cannot be read" in words(result, "recipe")


def test_another_model_is_told(own: Path) -> None:
    edit(own / "demo.onnx", lambda proto: setattr(proto.graph, "doc_string", "mine"))
    assert states(qdsl.show(own / "model.onnx"))["model"] == "changed"
    (own / "demo.onnx").unlink()
    assert states(qdsl.show(own / "model.onnx"))["model"] == "unknown"


def test_another_lock_is_told_range_by_range(home: Path, own: Path) -> None:
    """The same recipe with other data: other files, and every range."""
    array = np.random.default_rng(9).standard_normal((6, 3, 8, 8)).astype(np.float32)
    np.savez(own / "calib.npz", x=array)
    qdsl.compile(own / "demo.q", out=own / "build", measure=False, update=True)
    told = words(qdsl.show(own / "model.onnx"), "lock")
    assert "data calib: its files are others" in told and 'range of "x" is another in it' in told


def test_a_lock_without_a_range_is_told(own: Path) -> None:
    from dataclasses import replace

    from qdsl.lock import read, render

    lock = read(own / "demo.lock")
    assert lock is not None
    (own / "demo.lock").write_text(render(replace(lock, ranges=lock.ranges[1:])), encoding="utf-8")
    assert words(qdsl.show(own / "model.onnx"), "lock") == "1 range, mean or choice of the file not in it"


def test_hashes_are_enough_to_agree(tmp_path: Path) -> None:
    made = qdsl.compile(project(tmp_path), out=tmp_path / "build", measure=False, provenance="hashes")
    result = qdsl.show(made.targets[0].emitted.model, recipe=tmp_path / "demo.q")
    assert states(result) == dict.fromkeys(("file", "recipe", "model", "lock"), "same") and result.recipe is None


@pytest.mark.parametrize("what", ["recipe", "lock"])
def test_what_was_named_has_to_be_there(what: str, own: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.show(own / "model.onnx", **{what: own / "nowhere"})
    assert caught.value.diagnostics[0].code == "file-missing"


def test_a_file_is_built_again_from_what_it_carries(home: Path, tmp_path: Path) -> None:
    """Its recipe, the lock and the float model are enough, without the data."""
    there = tmp_path / "there"
    there.mkdir()
    (recipe,) = qdsl.show(model_in(home), extract=there).extracted
    for name in ("demo.lock", "demo.onnx"):
        (there / name).write_bytes((home / name).read_bytes())
    made = qdsl.compile(recipe, out=tmp_path / "build", measure=False, locked=True).targets[0].emitted.model
    assert made.read_bytes() == model_in(home).read_bytes()


# ---- the command -----------------------------------------------------------------------------------------------------


def test_the_recipe_is_printed_byte_for_byte(own: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["show", str(own / "model.onnx"), "--extract", "-"]) == 0
    assert capfdbinary.readouterr().out == (own / "demo.q").read_bytes()


def test_strict_fails_for_what_changed_alone(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["show", str(own / "model.onnx"), "--strict"]
    assert main(asked) == 0
    (own / "demo.q").write_text(HEAD + "# more\n", encoding="utf-8")
    assert main(asked) == 4 and main(asked[:-1]) == 0
    assert "\n           +# more\n" in capsys.readouterr().out


def test_json_says_all_of_it(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(own / "model.onnx"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["provenance"]["recipe"] == "demo" and found["agrees"]
    assert [each["what"] for each in found["agreements"]] == ["file", "recipe", "model", "lock"]


# ---- files of others -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of other tools' files is not here")
@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.onnx")) if CORPUS.is_dir() else [])
def test_files_of_other_tools_are_shown_and_written_out(name: str, tmp_path: Path) -> None:
    result = qdsl.show(CORPUS / name, export=tmp_path / "out")
    assert result.provenance is None and result.agreements == () and result.operators
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text(encoding="utf-8"))
    for tensor in manifest["tensors"]:
        arrays = np.load(tmp_path / "out" / f"{tensor['file']}.npz", allow_pickle=False)
        if tensor["form"] in ("stored", "float_pair"):
            assert list(arrays["integers"].shape) == tensor["shape"]
    again = tree(tmp_path / "out")
    qdsl.show(CORPUS / name, export=tmp_path / "out")
    assert tree(tmp_path / "out") == again


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of other tools' files is not here")
def test_one_net_in_two_forms_has_the_same_integers(tmp_path: Path) -> None:
    """`Quant` of QONNX, which rounds floats, and the same net with Q, Clip and DQ."""
    weights = []
    for name in ("brevitas_qonnx", "brevitas_qcdq"):
        qdsl.show(CORPUS / f"{name}.onnx", export=tmp_path / name)
        folder = Exported(tmp_path / name)
        found = [each for each in folder.manifest["tensors"] if each["role"] == "weight"]
        weights.append([np.load(tmp_path / name / f"{each['file']}.npz")["integers"] for each in found])
    assert len(weights[0]) == len(weights[1]) > 0
    for one, other in zip(*weights, strict=True):
        assert np.array_equal(one, other) and one.dtype == other.dtype == np.int8


def test_what_an_operator_packs_is_written_as_it_is_stored(tmp_path: Path) -> None:
    packed = np.arange(64, dtype=np.uint8).reshape(4, 1, 16)
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=32, N=4, bits=4, block_size=32
    )
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, size]) for n, size in (("x", 32), ("y", 4))]
    constants = [numpy_helper.from_array(packed, "w"), numpy_helper.from_array(np.ones(4, np.float32), "s")]
    graph = helper.make_graph([node], "g", info[:1], info[1:], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "model.onnx")
    qdsl.show(tmp_path / "model.onnx", export=tmp_path / "out")
    folder = Exported(tmp_path / "out")
    (weight,) = [each for each in folder.manifest["tensors"] if each["role"] == "weight"]
    arrays = np.load(tmp_path / "out" / f"{weight['file']}.npz")
    assert np.array_equal(arrays["stored"], packed) and "integers" not in arrays.files
    assert (weight["block"], weight["shape"]) == (32, None)


def test_a_changed_provenance_is_a_warning_and_the_rest_is_shown(own: Path) -> None:
    def change(proto: ModelProto) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
        data = json.loads(entry.value)
        data["files"][0]["name"] = "../../../etc/evil"
        data["files"][0]["run"] = "rm"
        entry.value = json.dumps(data)

    edit(own / "model.onnx", change)
    result = qdsl.show(own / "model.onnx")
    assert result.provenance is None and result.quantities
    (warning,) = result.diagnostics
    assert warning.code == "provenance-invalid" and "unknown key `run`" in warning.label
    with pytest.raises(QdslError) as caught:
        qdsl.show(own / "model.onnx", extract=own / "out.q")
    assert caught.value.diagnostics[0].code == "provenance-invalid" and not (own / "out.q").exists()


def test_provenance_that_stands_there_twice_is_not_believed(own: Path) -> None:
    edit(own / "model.onnx", lambda proto: proto.metadata_props.add(key=KEY, value="{}"))
    (warning,) = qdsl.show(own / "model.onnx").diagnostics
    assert "stands there 2 times" in warning.label


def test_a_name_from_the_file_looks_nowhere_else(own: Path, tmp_path: Path) -> None:
    """The recipe's name leads to a file beside the model or to none."""

    def change(proto: ModelProto) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
        entry.value = json.dumps({**json.loads(entry.value), "recipe": "../demo"})

    inner = own / "inner"
    inner.mkdir()
    (inner / "model.onnx").write_bytes((own / "model.onnx").read_bytes())
    edit(inner / "model.onnx", change)
    assert states(qdsl.show(inner / "model.onnx"))["recipe"] == "unknown"


@pytest.mark.parametrize("content", [b"", b"recipe demo\n", b"\x08\x08", b"version https://git-lfs"])
def test_what_is_no_model_is_an_error_in_words(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(QdslError) as caught:
        qdsl.show(tmp_path / "model.onnx")
    assert caught.value.diagnostics[0].code == "model-unreadable"


@pytest.mark.parametrize("seed", few_of(range(40), 5))
def test_a_damaged_file_is_shown_or_refused_in_words(seed: int, own: Path) -> None:
    """Ten copies with one bit or byte changed; never anything but a result or diagnostics."""
    draw = np.random.default_rng(seed)
    whole = (own / "model.onnx").read_bytes()
    for _ in range(10):
        at = int(draw.integers(len(whole)))
        changed = bytes([whole[at] ^ (1 << int(draw.integers(8)))]) if draw.random() < 0.5 else draw.bytes(1)
        (own / "model.onnx").write_bytes(whole[:at] + changed + whole[at + 1 :])
        with suppress(QdslError):
            assert qdsl.show(own / "model.onnx", export=own / "out").path == own / "model.onnx"


# ---- the integers ----------------------------------------------------------------------------------------------------


class Exported:
    """An exported folder, read with numpy and json alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.layers = {layer["node"]: layer for layer in self.manifest["layers"]}

    def arrays(self, value: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of what an input or output is quantized by."""
        (number,) = value["quantized"]
        return dict(np.load(self.folder / f"{self.manifest['tensors'][number]['file']}.npz", allow_pickle=False))


def centred(found: dict[str, np.ndarray[Any, Any]], integers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Integers without their zero point, which stands along the axis."""
    zero, axis = found["zero_point"].astype(np.int64), int(found["axis"])
    shape = [-1 if at == axis else 1 for at in range(integers.ndim)]
    return integers.astype(np.int64) - (zero.reshape(shape) if zero.size > 1 else zero.reshape(()))


def products(layer: dict[str, Any], x: np.ndarray[Any, Any], w: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The sums of a layer in whole numbers."""
    if layer["op"] == "Gemm":
        assert layer["attributes"] == {"transB": 1}
        return x @ w.T
    top, left, bottom, right = layer["attributes"].get("pads", (0, 0, 0, 0))
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))
    return np.einsum("ncyxij,ocij->noyx", windows, w)


def computed(folder: Exported, node: str, after: str, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a layer writes for integers `x`, by the files alone; `after` is the layer whose output is quantized."""
    layer, last = folder.layers[node], folder.layers[after]
    inputs = [folder.arrays(value) for value in layer["inputs"]]
    output = folder.arrays(last["outputs"][0])
    sums = products(layer, centred(inputs[0], x), centred(inputs[1], inputs[1]["integers"]))
    shape = (1, -1, *[1] * (sums.ndim - 2))
    sums = sums + inputs[2]["integers"].astype(np.int64).reshape(shape)
    if after != node:
        assert last["op"] == "Relu"
        sums = np.maximum(sums, 0)
    scale = (inputs[0]["scale"] * inputs[1]["scale"] / output["scale"]).astype(np.float32).reshape(shape)
    rounded = np.rint(sums.astype(np.float32) * scale) + output["zero_point"].astype(np.float32)
    return np.clip(rounded, 0, 255).astype(np.uint8)


def integers_name(folder: Exported, value: dict[str, Any]) -> str:
    """The tensor of integers, as qdsl calls it."""
    (number,) = value["quantized"]
    return f"{folder.manifest['tensors'][number]['tensor'].removesuffix('_before')}_quantized"


def integers_run(path: Path, names: list[str], x: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """What ONNX Runtime computes for tensors of integers."""
    proto = onnx.load(path)
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in names)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(names, {"x": x}))


@pytest.mark.parametrize(("node", "after"), [("stem", "relu1"), ("inner", "inner"), ("left", "left"), ("gemm", "gemm")])
def test_a_layer_is_computed_anew_from_the_files(node: str, after: str, home: Path, tmp_path: Path) -> None:
    qdsl.show(model_in(home), export=tmp_path / "out")
    folder = Exported(tmp_path / "out")
    read, written = (
        integers_name(folder, value) for value in (folder.layers[node]["inputs"][0], folder.layers[after]["outputs"][0])
    )
    x = np.random.default_rng(4).standard_normal((1, 3, 8, 8)).astype(np.float32)
    before, real = integers_run(model_in(home), [read, written], x)
    assert np.array_equal(computed(folder, node, after, before), real)


def test_inputs_and_outputs_of_the_model_lead_to_their_scales(home: Path, tmp_path: Path) -> None:
    qdsl.show(model_in(home), export=tmp_path / "out")
    manifest = Exported(tmp_path / "out").manifest
    for end, name in (("inputs", "x"), ("outputs", "y_before")):
        (value,) = manifest[end]
        (number,) = value["quantized"]
        assert manifest["tensors"][number]["tensor"] == name


def test_text_says_what_the_arrays_say(home: Path, tmp_path: Path) -> None:
    qdsl.show(model_in(home), export=tmp_path / "out")
    folder = Exported(tmp_path / "out")
    for tensor in folder.manifest["tensors"]:
        arrays = np.load(tmp_path / "out" / f"{tensor['file']}.npz", allow_pickle=False)
        said = read_text((tmp_path / "out" / f"{tensor['file']}.txt").read_text(encoding="utf-8"))
        assert said.keys() == set(arrays.files)
        for name, array in said.items():
            assert array.dtype == arrays[name].dtype and np.array_equal(array, arrays[name])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {MANIFEST, LAYOUT, FOLDER}


def read_text(text: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a text as its layout says."""
    found: dict[str, np.ndarray[Any, Any]] = {}
    left = [line for line in text.splitlines() if not line.startswith("#")]
    while left:
        name, dtype, rest = left.pop(0).split(" ", 2)
        shape = [int(word) for word in rest.strip("[]").split()]
        rows = shape[0] if len(shape) > 1 else 1
        values = [word for line in left[:rows] for word in line.split()]
        del left[:rows]
        found[name] = np.asarray(values, np.float64 if "float" in dtype else np.int64).astype(dtype).reshape(shape)
    return found


def test_every_type_can_be_written(tmp_path: Path) -> None:
    import ml_dtypes

    assert portable(np.asarray([-8, 7], ml_dtypes.int4)).values.tolist() == [-8, 7]
    assert portable(np.asarray([1.5], ml_dtypes.bfloat16)).values.dtype == np.float32
    eight = portable(np.asarray([1.0], ml_dtypes.float8_e4m3fn))
    assert eight.bits and eight.values.dtype == np.uint8
    third = np.float32(1 / 3)
    (_, line) = lines("scale", np.asarray([third]))
    assert np.float32(float(line)) == third


NAMES = ["a", "A", "../../etc/passwd", "/abs", "a/b", "a:b", "CON", "x" * 500, "\0", "\u202e", "", "..", "ä"]


def test_names_of_files_are_safe_and_differ_on_every_file_system() -> None:
    made = [file_name(number, name) for number, name in enumerate(NAMES)]
    assert len({name.casefold() for name in made}) == len(NAMES)
    for name in made:
        assert Path(name).name == name and len(name) < 100 and name.isascii() and name.isprintable()


def hostile(name: str) -> ModelProto:
    """A model whose tensors have such a name."""
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], [name]),
        helper.make_node("Add", ["x", name], ["y"], name=name),
    ]
    info = [helper.make_tensor_value_info(each, TensorProto.FLOAT, [4]) for each in "xy"]
    constants = [
        numpy_helper.from_array(np.arange(4, dtype=np.int8), "w"),
        numpy_helper.from_array(np.float32(0.5), "s"),
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", ["../../out", "/tmp/evil", "a" * 3000])
def test_names_of_tensors_lead_nowhere(name: str, tmp_path: Path) -> None:
    onnx.save(hostile(name), tmp_path / "model.onnx")
    before = set(tmp_path.rglob("*"))
    qdsl.show(tmp_path / "model.onnx", export=tmp_path / "in" / "out")
    written = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "in") for path in written)
    (tensor,) = Exported(tmp_path / "in" / "out").manifest["tensors"]
    assert tensor["tensor"] == name and tensor["scale"] == 0.5


def test_an_export_is_replaced_and_nothing_else_is(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    qdsl.show(model_in(home), export=out)
    first = tree(out)
    qdsl.show(model_in(home), export=out)
    assert tree(out) == first
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    for place in (out, out / "mine.txt"):
        with pytest.raises(QdslError) as caught:
            qdsl.show(model_in(home), export=place)
        assert caught.value.diagnostics[0].code == "show-exists"
    assert (out / "mine.txt").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
