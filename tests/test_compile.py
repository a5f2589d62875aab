"""`compile` from a recipe's text to verified files on disk, through the library and the command line."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import ROOT, project, residual_net, samples, session, tree

import qdsl
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import from_json, to_json

QDQ = ("QuantizeLinear", "DequantizeLinear")
FILES = {
    "measurements.json",
    "ort/manifest.json",
    "ort/model.onnx",
    "plan.json",
    "ranges.json",
    "recipe.txt",
    "report.html",
}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small network, compiled once: the recipe and the result."""
    folder = tmp_path_factory.mktemp("compiled")
    recipe = project(folder, "keep op Gemm in float32\n")
    return recipe, qdsl.compile(recipe, out=folder / "build")


def plan_on_disk(directory: Path) -> Plan:
    stored = json.loads((directory / "plan.json").read_text(encoding="utf-8"))
    assert list(stored) == ["ort"]
    return from_json(json.dumps(stored["ort"]))


# --- what stands on disk --------------------------------------------------------------------------------------------


def test_files(compiled: Any) -> None:
    recipe, result = compiled
    assert result.directory == recipe.parent / "build" / "demo"
    found = set(tree(result.directory))
    assert {name for name in found if not name.startswith("ort/bench/")} == FILES
    assert {"ort/bench/bench.py", "ort/bench/bundle.json", "ort/bench/float.onnx"} <= found
    modes = {name: (result.directory / name).stat().st_mode & 0o777 for name in FILES}
    assert len(set(modes.values())) == 1, modes


def test_manifest_describes_the_files(compiled: Any) -> None:
    _, result = compiled
    manifest = json.loads((result.directory / "ort" / "manifest.json").read_text(encoding="utf-8"))
    for file in manifest["files"]:
        data = (result.directory / "ort" / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    proto = onnx.load(result.directory / "ort" / "model.onnx")
    assert manifest["nodes"] == dict(Counter(node.op_type for node in proto.graph.node))
    assert manifest["opset"] == {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    stamped = {p.key: p.value for p in proto.metadata_props}
    assert stamped["qdsl.plan_sha256"] == manifest["plan_sha256"]


def test_the_plan_on_disk_is_the_plan(compiled: Any) -> None:
    recipe, result = compiled
    stored = plan_on_disk(result.directory)
    assert stored == result.targets[0].plan == qdsl.plan(recipe).plans[0]
    assert from_json(to_json(stored)) == stored


def test_ranges_are_those_of_the_data(compiled: Any) -> None:
    recipe, result = compiled
    stored = json.loads((result.directory / "ranges.json").read_text(encoding="utf-8"))
    arrays = [dict(each) for each in samples(recipe)]
    assert stored["samples"] == len(arrays) == 6
    low, high, how = stored["tensors"]["x"]
    assert how == "minmax on calib"
    assert low == min(float(a["x"].min()) for a in arrays)
    assert high == max(float(a["x"].max()) for a in arrays)
    observed = {t.tensor for t in result.targets[0].plan.tensors if t.observe}
    assert set(stored["tensors"]) == observed


def test_the_model_runs_and_stays_close(compiled: Any) -> None:
    recipe, result = compiled
    made, reference = session(result.targets[0].emitted.model), session(recipe.parent / "demo.onnx")
    for arrays in samples(recipe):
        (wanted,), (got,) = reference.run(None, dict(arrays)), made.run(None, dict(arrays))
        assert np.linalg.norm(wanted - got) < 0.05 * np.linalg.norm(wanted)


def test_size_and_verification_are_as_predicted(compiled: Any) -> None:
    _, result = compiled
    (target,) = result.targets
    assert abs(target.emitted.size - target.plan.totals.predicted_bytes) <= 64
    assert target.verification.as_predicted
    assert {k.kernel: (k.predicted, k.real) for k in target.verification.kernels}["Conv"] == (4, 4)
    assert [output.tensor for output in target.verification.outputs] == ["y"]


def test_every_inserted_node_names_its_rule_and_line(compiled: Any) -> None:
    recipe, result = compiled
    lines = recipe.read_text(encoding="utf-8").split("\n")
    proto = onnx.load(result.targets[0].emitted.model)
    inserted = [node for node in proto.graph.node if node.op_type in QDQ]
    assert len(inserted) > 20
    for node in inserted:
        (origin,) = [p.value for p in node.metadata_props if p.key == "qdsl.origin"]
        found = re.fullmatch(r"(quantize static), line (\d+)", origin)
        assert found, origin
        weights = node.input[0].startswith(("w", "b"))
        assert lines[int(found[2]) - 1].split()[0] == ("weights" if weights else "activations")


def test_no_path_user_host_or_time_in_any_artifact(compiled: Any) -> None:
    recipe, result = compiled
    secrets = [str(recipe.parent), str(ROOT), str(Path.home()), socket.gethostname()]
    secrets += [getpass.getuser()] if getpass.getuser() not in ("root", "user") else []
    for name, data in tree(result.directory).items():
        text = data.decode("latin-1")
        assert [word for word in secrets if len(word) > 2 and word in text] == [], name
        assert not re.search(r"\b20[0-9]{2}-[01][0-9]-[0-3][0-9]", text), name
        assert "/tmp/" not in text, name


# --- placement, edge by edge ----------------------------------------------------------------------------------------


def edges(path: Path) -> dict[str, str]:
    """Per input of a node of the float model: `float` or the scale of the DequantizeLinear it reads, or of the integers
    that it reads themselves. Graph outputs are listed under their names."""
    graph = onnx.load(path).graph
    through = {node.output[0]: node.input[1] for node in graph.node if node.op_type in QDQ}
    nodes = [node for node in graph.node if node.op_type not in QDQ]
    read = {f"{node.name}:{port}": name for node in nodes for port, name in enumerate(node.input)}
    read |= {out.name: out.name for out in graph.output}
    return {edge: through.get(name, "float") for edge, name in read.items()}


def made(folder: Path, rules: str) -> dict[str, str]:
    result = qdsl.compile(project(folder, rules), out=folder / "build")
    assert result.targets[0].verification.as_predicted
    assert result.targets[0].emitted.refused == ()
    return edges(result.targets[0].emitted.model)


WEIGHTS = {
    **{f"{node}:{port}": f"{word}_scale" for node, port, word in (("stem", 1, "w1"), ("stem", 2, "b1"))},
    **{f"{node}:{port}": f"{word}_scale" for node, port, word in (("inner", 1, "w2"), ("inner", 2, "b2"))},
    **{f"{node}:{port}": f"{word}_scale" for node, port, word in (("left", 1, "w3"), ("left", 2, "b3"))},
    **{f"{node}:{port}": f"{word}_scale" for node, port, word in (("right", 1, "w4"), ("right", 2, "b4"))},
    **{f"{node}:{port}": f"{word}_scale" for node, port, word in (("gemm", 1, "w5"), ("gemm", 2, "b5"))},
}
PLAIN = WEIGHTS | {
    "stem:0": "x_scale",
    "relu1:0": "float",
    "inner:0": "r_scale",
    "add:0": "c_scale",
    "add:1": "r_scale",
    "relu2:0": "float",
    "left:0": "t_scale",
    "right:0": "t_scale",
    "concat:0": "l_scale",
    # l and q have one reader, the Concat, so they share its scale at no cost
    "concat:1": "l_scale",
    "pool:0": "l_scale",
    "flatten:0": "p_scale",
    "gemm:0": "p_scale",
    "y": "y_scale",
}


def changed(**edge: str) -> dict[str, str]:
    return PLAIN | {name.replace("_", ":"): value for name, value in edge.items()}


PLACEMENTS: dict[str, tuple[str, dict[str, str]]] = {
    "nothing asked": ("", PLAIN),
    "keep a node: it reads what its producers quantized": (
        "keep op Gemm in float32\n",
        changed(gemm_1="float", gemm_2="float", y="float"),
    ),
    "keep the first node: the input is not quantized": (
        'keep "stem" in float32\n',
        changed(stem_0="float", stem_1="float", stem_2="float"),
    ),
    "leave one edge of two": ('place { leave "relu1" -> "add" }\n', changed(add_1="float")),
    "leave a tensor": ('place { leave tensor "j" }\n', changed(concat_1="q_scale", pool_0="float")),
    "share over a concat": ("place { share scale across op Concat }\n", PLAIN),
    "share over its inputs": (
        "place { share scale across inputs of op Concat }\n",
        changed(pool_0="j_scale"),
    ),
    # r reaches below zero with c's scale, so that Relu is no longer part of what quantizes r: s gets a pair of its own
    "share tensors": (
        'place { share scale across tensor ["c", "r"] }\n',
        changed(inner_0="r_scale", add_0="r_scale", add_1="r_scale", relu1_0="s_scale"),
    ),
    "quantize a few inputs alone": (
        "place { leave inputs of all; quantize inputs of op Gemm }\n",
        {name: scale if name.startswith("gemm") else "float" for name, scale in PLAIN.items()}
        | {"gemm:0": "f_scale", "y": "y_scale"},
    ),
}


@pytest.mark.parametrize("name", PLACEMENTS)
def test_placement_is_honoured_edge_by_edge(name: str, tmp_path: Path) -> None:
    rules, wanted = PLACEMENTS[name]
    found = made(tmp_path, rules)
    assert {k: v for k, v in found.items() if wanted[k] != v} == {}
    assert set(found) == set(wanted)


# --- predicted size -------------------------------------------------------------------------------------------------


def test_the_predicted_size_counts_what_canonicalising_changes(tmp_path: Path) -> None:
    """Weights stored twice become one; large constants in Constant nodes are no news."""
    draw = np.random.default_rng(0)
    weight = draw.standard_normal((64, 64, 3, 3)).astype(np.float32)
    text = """agraph (float[1, 64, 8, 8] x) => (float[1, 64, 8, 8] y) {
      [one] a = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w1)
      [two] b = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a, w2)
      [three] y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (b, w3)
    }"""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(weight, name) for name in ("w1", "w2"))
    third = onnx.numpy_helper.from_array(draw.standard_normal(weight.shape).astype(np.float32), "value")
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["w3"], name="third", value=third))
    result = qdsl.compile(project(tmp_path, proto=proto), out=tmp_path / "build", lock=False)
    emitted, totals = result.targets[0].emitted, result.targets[0].plan.totals
    assert 2 * weight.size < emitted.size < 2.2 * weight.size
    assert abs(emitted.size - totals.predicted_bytes) <= 0.05 * emitted.size
    assert totals.float_bytes == (tmp_path / "demo.onnx").stat().st_size


# --- bodies that read from outside -----------------------------------------------------------------------------------


def test_what_the_body_of_an_if_reads_stays_float(tmp_path: Path) -> None:
    """A body names the tensor it reads, so no pair can stand in between: the Relu that writes it computes in float, and
    the Conv before it stays in integers with a pair of its own."""
    bodies = [
        onnx.helper.make_graph(
            [onnx.helper.make_node(op, ["r"], ["z"])],
            op,
            [],
            [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 4, 8, 8])],
        )
        for op in ("Neg", "Abs")
    ]
    proto = residual_net()
    proto.graph.node.append(onnx.helper.make_node("ReduceMax", ["y"], ["top"], "top", keepdims=0))
    proto.graph.node.append(onnx.helper.make_node("Cast", ["top"], ["yes"], "yes", to=onnx.TensorProto.BOOL))
    branch = onnx.helper.make_node("If", ["yes"], ["chosen"], "choose", then_branch=bodies[0], else_branch=bodies[1])
    proto.graph.node.append(branch)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("chosen", onnx.TensorProto.FLOAT, [1, 4, 8, 8]))
    (made,) = qdsl.compile(project(tmp_path, proto=proto), out=tmp_path / "build").targets
    readers = {tensor.tensor: [reader.node for reader in tensor.readers] for tensor in made.plan.tensors}
    assert "choose" not in readers.get("r", [])
    runs = {node.node: node.prediction.runs for node in made.plan.nodes}
    assert (runs["stem"], runs["relu1"]) == ("integer", "float")
    assert made.verification.as_predicted
    assert made.emitted.refused == ()
