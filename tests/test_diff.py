"""`qdsl diff`: what differs between recipes, plans, locks and models, on disk and at revisions; and in `git diff`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, residual_net
from git_tools import commit, git, repository
from onnx import numpy_helper

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.differences.as_lines import as_lines
from qdsl.differences.comparing import Difference, compare
from qdsl.differences.side import Node, Side, Tensor
from qdsl.differences.telling import as_data, as_markdown, as_text

KEEP = 'keep "gemm" in float32\n'


def model_of(folder: Path, rules: str = "", head: str = HEAD, **how: Any) -> Path:
    """The file that a recipe with `rules` compiles to."""
    made = qdsl.compile(project(folder, rules, head=head, **how), out=folder / "build")
    return made.targets[0].emitted.model


def only(before: Path | str, after: Path | str, **how: Any) -> Difference:
    (found,) = qdsl.diff(before, after, **how).differences
    return found


def test_equal_recipes_have_no_difference(tmp_path: Path) -> None:
    one, other = project(tmp_path / "a"), project(tmp_path / "b")
    found = only(one, other)
    assert found.equal and found.statements == () and "no difference" in as_text(found)


def test_a_rule_changes_the_nodes_it_speaks_of(tmp_path: Path) -> None:
    found = only(project(tmp_path / "a"), project(tmp_path / "b", KEEP))
    assert found.statements == ('+ keep "gemm" in float32',)
    changed = {change.node: (str(change.before), str(change.after)) for change in found.nodes}
    assert changed == {"gemm": ("integer (int8 weights, uint8 in)", "float (uint8 in)")}
    assert [(c.weight, c.after) for c in found.weights] == [("gemm:1", ""), ("gemm:2", "")]
    assert not found.equal


def test_another_type_is_told_tensor_by_tensor(tmp_path: Path) -> None:
    other = HEAD.replace("uint8 affine", "int8 affine")
    found = only(project(tmp_path / "a"), project(tmp_path / "b", head=other))
    assert {(c.what, c.before, c.after) for c in found.tensors} >= {
        ("scheme", "uint8 affine per_tensor", "int8 affine per_tensor")
    }


def test_a_recipe_is_its_plan(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    qdsl.compile(recipe, out=tmp_path / "build")
    assert only(recipe, tmp_path / "build" / "demo").equal
    assert only(tmp_path / "build" / "demo" / "plan.json", recipe).equal


def test_a_recipe_without_its_model_is_compared_by_what_it_says(tmp_path: Path) -> None:
    one, other = project(tmp_path / "a"), project(tmp_path / "b", KEEP)
    (tmp_path / "a" / "demo.onnx").unlink()
    found = only(one, other)
    assert found.statements == ('+ keep "gemm" in float32',)
    assert found.nodes == () and "not planned: there is no model file" in as_text(found)


def test_what_was_not_compared_is_not_told_to_be_equal(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    qdsl.compile(recipe, out=tmp_path / "build")
    with pytest.raises(QdslError, match="no such target"):
        qdsl.diff(recipe, recipe, target="nope")
    next(tmp_path.glob("*.onnx")).unlink()
    assert "the statements are the same\nnot planned: " in as_text(only(recipe, recipe))
    with pytest.raises(QdslError, match="not planned"):
        qdsl.diff(recipe, tmp_path / "build" / recipe.stem)


def test_models_of_two_recipes(tmp_path: Path) -> None:
    wider = HEAD.replace("minmax on calib", "percentile 90 on calib")
    found = only(model_of(tmp_path / "a"), model_of(tmp_path / "b", KEEP, wider))
    assert "gemm" in {change.node for change in found.nodes}
    assert found.moved and found.moved[0].by >= found.moved[-1].by >= 0.01
    shrunk = next(move for move in found.moved if move.name == "r")
    assert shrunk.of == "tensor" and shrunk.after < shrunk.before
    assert found.kept is not None and found.kept > 0
    assert found.before.size != found.after.size and found.after.integer_macs < found.after.macs  # type: ignore[operator]


def test_a_model_and_itself(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    assert only(model, model).equal
    assert only(tmp_path / "demo.onnx", tmp_path / "demo.onnx").equal


def test_a_scale_that_moves_is_told_by_how_much(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    proto = onnx.load(model)
    pair = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "r")
    scale = next(each for each in proto.graph.initializer if each.name == pair.input[1])
    was = float(numpy_helper.to_array(scale))
    scale.CopyFrom(numpy_helper.from_array(np.float32(was * 1.25), scale.name))
    onnx.save(proto, tmp_path / "moved.onnx")
    found = only(model, tmp_path / "moved.onnx")
    assert {move.name for move in found.moved} >= {"r"}
    move = next(each for each in found.moved if each.name == "r")
    assert move.by == pytest.approx(0.25, rel=1e-5) and move.before == pytest.approx((was,))
    assert {change.node for change in found.nodes} <= {"inner"}  # whose bias is still on the scale of before
    assert found.weights == ()
    assert not only(model, tmp_path / "moved.onnx", scales=0.3).moved


def test_changed_weights_are_told(tmp_path: Path) -> None:
    other = residual_net()
    held = next(each for each in other.graph.initializer if each.name == "w3")
    held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held)[::-1].copy(), "w3"))
    found = only(model_of(tmp_path / "a"), model_of(tmp_path / "b", proto=other))
    assert ("left:1", "int8 per_channel, other values") in {(c.weight, c.after) for c in found.weights}
    assert "stem:1" not in {change.weight for change in found.weights}


TINY = """
<ir_version: 8, opset_import: ["" : 17]>
net (float[4] x) => (float[4] y) <float k = {2.0}, float[4] w = {1, 2, 3, 4}>
{
  [leaky] a = LeakyRelu <alpha = 0.1> (x)
  [sigmoid] b = Sigmoid (x)
  [sub] c = Sub (a, b)
  [scaled] d = Mul (c, w)
  [half] y = Mul (d, k)
}
"""


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ("alpha = 0.1", "alpha = 0.2", "alpha 0.1 -> 0.2"),
        ("Sub (a, b)", "Sub (b, a)", "port 0 reads sigmoid:0, not leaky:0; port 1 reads leaky:0, not sigmoid:0"),
        ("k = {2.0}", "k = {3.0}", "float32, other values"),
        ("float[4] x", "float[4] x, int64[2, N] u", "+ input u: int64 [2 N]"),
        ('"" : 17', '"" : 18', "+ opset 18"),
    ],
)
def test_what_a_model_computes_otherwise_is_told(was: str, now: str, told: str, tmp_path: Path) -> None:
    for name, text in (("old", TINY), ("new", TINY.replace(was, now))):
        onnx.save(onnx.parser.parse_model(text), tmp_path / f"{name}.onnx")
    found = only(tmp_path / "old.onnx", tmp_path / "new.onnx")
    assert not found.equal and told in as_text(found)
    old, new = (as_lines(tmp_path / f"{name}.onnx") for name in ("old", "new"))
    assert old != new, "git diff shows it, too"


def test_a_default_may_be_written_or_not(tmp_path: Path) -> None:
    for name, text in (("old", TINY), ("new", TINY.replace("LeakyRelu <alpha = 0.1>", "LeakyRelu <alpha = 0.01>"))):
        onnx.save(onnx.parser.parse_model(text.replace(" <alpha = 0.1>", "")), tmp_path / f"{name}.onnx")
    assert only(tmp_path / "old.onnx", tmp_path / "new.onnx").nodes == ()


def test_renamed_nodes_are_told_as_such(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(TINY)
    onnx.save(proto, tmp_path / "old.onnx")
    for number, node in enumerate(proto.graph.node):
        node.name = f"n{number}"
    onnx.save(proto, tmp_path / "new.onnx")
    text = as_text(only(tmp_path / "old.onnx", tmp_path / "new.onnx"))
    assert "names       0 of 5 nodes and 5 are called alike" in text and "renamed" in text


def test_a_comment_is_never_longer_than_code_hosts_take() -> None:
    tensors = {f"{number}{'|<x>' * 20000}": Tensor("uint8", readers=("y" * 90000,)) for number in range(60)}
    nodes = {"n" * 90000: Node("Conv", "integer")}
    found = compare(Side("a", "model", nodes=nodes), Side("b", "model", nodes=nodes, tensors=tensors))
    assert len(as_markdown(found)) < 65536


def test_float_against_quantized(tmp_path: Path) -> None:
    model = model_of(tmp_path)
    found = only(tmp_path / "demo.onnx", model)
    assert {c.what for c in found.tensors} == {"gained"}
    assert {str(c.before) for c in found.nodes} == {"float"}
    back = only(model, tmp_path / "demo.onnx")
    assert {c.what for c in back.tensors} == {"lost"} and len(back.nodes) == len(found.nodes)


def test_locks_are_compared_by_their_ranges(tmp_path: Path) -> None:
    model_of(tmp_path / "a")
    model_of(tmp_path / "b", head=HEAD.replace("minmax on calib", "percentile 90 on calib"))
    found = only(tmp_path / "a" / "demo.lock", tmp_path / "b" / "demo.lock")
    assert {move.of for move in found.moved} == {"range"}
    narrowed = next(move for move in found.moved if move.name == "c")
    assert narrowed.before[0] < narrowed.after[0] and narrowed.after[1] < narrowed.before[1]
    assert any(line.startswith("- recipe calibrate of quantize") for line in found.statements)
    text = as_text(found)
    assert "ranges: " in text and "nodes" not in text


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("demo.q", "demo.lock", "diff-kinds"),
        ("demo.q", "build/demo/ort/model.onnx", "diff-kinds"),
        ("demo.q", "nowhere.q", "diff-input"),
        ("demo.q", ".", "diff-input"),
        ("nothing:demo.q", "demo.q", "diff-input"),
        ("broken.json", "demo.q", "diff-input"),
        ("list.json", "demo.q", "diff-input"),
        ("broken.onnx", "demo.onnx", "model-invalid"),
        ("broken.lock", "demo.lock", "lock-invalid"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str, code: str
) -> None:
    model_of(tmp_path)
    for name, content in (("broken.json", "{"), ("list.json", "[1]"), ("broken.onnx", "no"), ("broken.lock", "x")):
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QdslError) as caught:
        qdsl.diff(before, after)
    assert code in {found.code for found in caught.value.diagnostics} or code == "model-invalid"


def test_a_plan_of_a_later_version_is_refused(tmp_path: Path) -> None:
    model_of(tmp_path)
    plan = tmp_path / "build" / "demo" / "plan.json"
    data = json.loads(plan.read_text())
    data["ort"]["version"] += 1
    plan.write_text(json.dumps(data))
    with pytest.raises(QdslError) as caught:
        qdsl.diff(plan, plan)
    assert [found.code for found in caught.value.diagnostics] == ["plan-file"]


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = str(project(tmp_path / "a")), str(project(tmp_path / "b", KEEP))
    assert main(["diff", one, other]) == 0
    assert "gemm  integer (int8 weights, uint8 in) -> float (uint8 in)" in capsys.readouterr().out
    assert main(["diff", one, other, "--exit-code"]) == 1
    assert main(["diff", one, one, "--exit-code"]) == 0
    capsys.readouterr()
    assert main(["diff", one, other, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["differences"][0]
    assert [node["node"] for node in data["nodes"]] == ["gemm"] and data["equal"] is False
    assert main(["diff", one]) == 2


def test_markdown_takes_names_literally() -> None:
    evil = "a|b`<img src=x>@someone\n# x"
    before = Side(evil, "lock", tensors={evil: Tensor("minmax", low=0.0, high=1.0)})
    after = Side("b", "lock", tensors={evil: Tensor("minmax", low=0.0, high=2.0)})
    text = as_markdown(compare(before, after))
    outside = [line for line in text.splitlines() if line.startswith("#")]
    assert len(outside) == 1 and "\n# x" not in text
    assert "a\\|b" in text, "a pipe ends no cell"
    assert as_data(compare(before, after))["scales"][0]["moved_by"] == 1.0


# ---- revisions and git -----------------------------------------------------------------------------------------------


def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: str = "") -> Path:
    """A repository with a recipe, its model and its lock at HEAD."""
    folder = tmp_path / "repo"
    qdsl.compile(project(folder / "recipes", rules), out=tmp_path / "build")
    repository(folder, {})
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_a_recipe_at_a_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scratch(tmp_path, monkeypatch)
    recipe = folder / "recipes" / "demo.q"
    recipe.write_text(recipe.read_text() + KEEP)
    found = only("HEAD:recipes/demo.q", "recipes/demo.q")
    assert found.statements == ('+ keep "gemm" in float32',) and [c.node for c in found.nodes] == ["gemm"]
    assert only("HEAD:recipes/demo.q", "HEAD:recipes/demo.q").equal
    monkeypatch.chdir(folder / "recipes")
    assert [c.node for c in only("HEAD:demo.q", "demo.q").nodes] == ["gemm"]
    assert [c.node for c in only("HEAD:./demo.q", "demo.q").nodes] == ["gemm"]


def test_the_model_of_the_revision_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scratch(tmp_path, monkeypatch)
    other = residual_net()
    gemm = next(node for node in other.graph.node if node.op_type == "Gemm")
    gemm.name = "head"
    onnx.save(other, folder / "recipes" / "demo.onnx")
    found = only("HEAD:recipes/demo.q", "recipes/demo.q")
    assert {(c.node, c.before is None) for c in found.nodes} == {("gemm", False), ("head", True)}


def test_what_git_does_not_keep_is_that_of_the_working_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repo"
    recipe = project(folder)
    repository(folder, {".gitignore": "*.onnx\n*.npz\n"})
    monkeypatch.chdir(folder)
    recipe.write_text(recipe.read_text() + KEEP)
    assert [c.node for c in only("HEAD:demo.q", "demo.q").nodes] == ["gemm"]


def test_what_is_staged_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = project(tmp_path / "home")
    repository(recipe.parent, {})
    monkeypatch.chdir(recipe.parent)
    recipe.write_text(recipe.read_text(encoding="utf-8") + KEEP, encoding="utf-8")
    assert KEEP.strip() in "".join(only(f":{recipe.name}", recipe.name).statements)
    git(recipe.parent, "add", recipe.name)
    assert only(f":0:{recipe.name}", recipe.name).equal and not only(f"HEAD:{recipe.name}", f":{recipe.name}").equal
    with pytest.raises(QdslError, match="in the index"):
        qdsl.diff(":nothing.q", recipe.name)


def test_a_bare_repository_and_a_shallow_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = project(tmp_path / "home")
    home = repository(recipe.parent, {})
    commit(home, {recipe.name: recipe.read_text(encoding="utf-8") + KEEP})
    git(tmp_path, "clone", "-q", "--bare", str(home), "bare.git")
    monkeypatch.chdir(tmp_path / "bare.git")
    assert only(f"HEAD~1:{recipe.name}", f"HEAD:{recipe.name}").nodes
    git(tmp_path, "clone", "-q", "--depth", "1", home.as_uri(), "shallow")
    monkeypatch.chdir(tmp_path / "shallow")
    with pytest.raises(QdslError) as raised:
        qdsl.diff(f"HEAD~1:{recipe.name}", recipe.name)
    assert "unshallow" in raised.value.diagnostics[0].help[0]


def test_bases_are_those_of_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "repo"
    base = project(folder)
    (folder / "mine.q").write_text('recipe mine\nextends "demo.q"\n')
    repository(folder, {})
    monkeypatch.chdir(folder)
    base.write_text(base.read_text() + KEEP)
    found = only("HEAD:mine.q", "mine.q")
    assert [c.node for c in found.nodes] == ["gemm"]


def test_a_file_of_git_lfs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    repository(tmp_path, {"model.onnx": pointer})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QdslError) as caught:
        qdsl.diff("HEAD:model.onnx", "HEAD:model.onnx")
    (found,) = caught.value.diagnostics
    assert found.code == "diff-revision" and "Git LFS" in found.headline


def test_errors_name_the_revision_and_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(tmp_path, {"a.q": "recipe a\nwhat is this\n"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QdslError) as caught:
        qdsl.diff("HEAD:a.q", "a.q")
    assert {found.span.file for found in caught.value.diagnostics if found.span} == {"HEAD:a.q"}


def installed(folder: Path) -> str:
    """A folder with a command `qdsl` in it."""
    folder.mkdir()
    script = folder / "qdsl"
    root = Path(qdsl.__file__).parent.parent
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m qdsl "$@"\n')
    script.chmod(0o755)
    return str(folder)


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    folder = scratch(tmp_path, monkeypatch)
    path = installed(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")
    assert main(["git-setup"]) == 0
    commit(folder, {})
    return folder, path


@pytest.mark.slow
def test_git_diff_shows_what_a_line_of_a_recipe_changes(set_up: tuple[Path, str]) -> None:
    folder, path = set_up
    recipe = folder / "recipes" / "demo.q"
    recipe.write_text(recipe.read_text() + KEEP)
    shown = git(folder, "diff", "-U0", path=path)
    assert '+keep "gemm" in float32' in shown
    assert "-node gemm: Gemm, integer (int8 weights, uint8 in)\n+node gemm: Gemm, float (uint8 in)\n" in shown
    assert not [line for line in shown.splitlines() if line.startswith("-node") and "gemm" not in line]


@pytest.mark.slow
def test_git_diff_shows_what_a_rebuilt_model_holds(set_up: tuple[Path, str], tmp_path: Path) -> None:
    folder, path = set_up
    commit(folder, {"model.onnx": model_of(tmp_path / "a").read_bytes()})
    (folder / "model.onnx").write_bytes(model_of(tmp_path / "b", KEEP).read_bytes())
    shown = git(folder, "diff", "-U0", path=path)
    assert "-node gemm: Gemm, integer (int8 weights, uint8 in)\n+node gemm: Gemm, float (uint8 in)\n" in shown
    assert "Binary files" not in shown


@pytest.mark.slow
def test_git_diff_shows_ranges_of_locks(set_up: tuple[Path, str], tmp_path: Path) -> None:
    folder, path = set_up
    model_of(tmp_path / "b", head=HEAD.replace("minmax on calib", "percentile 90 on calib"))
    shutil.copy(tmp_path / "b" / "demo.lock", folder / "recipes" / "demo.lock")
    shown = git(folder, "diff", "-U0", path=path)
    assert "-tensor c: [" in shown and "+tensor c: [" in shown


def test_git_setup_twice_changes_nothing(set_up: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = set_up
    before = (folder / ".gitattributes").read_bytes()
    assert before.decode() == "*.q diff=qdsl\n*.lock diff=qdsl\n*.onnx diff=qdsl\n"
    assert qdsl.git_setup(folder).added == ()
    assert (folder / ".gitattributes").read_bytes() == before


def test_git_setup_keeps_what_stands_there(tmp_path: Path) -> None:
    repository(tmp_path, {".gitattributes": "*.png binary\n*.onnx diff=qdsl"})
    assert qdsl.git_setup(tmp_path).added == ("*.q diff=qdsl", "*.lock diff=qdsl")
    assert (tmp_path / ".gitattributes").read_text() == (
        "*.png binary\n*.onnx diff=qdsl\n*.q diff=qdsl\n*.lock diff=qdsl\n"
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [("poetry.lock", "[[package]]\nname = 1\n"), ("query.q", "select from trades where sym=`a\n"), ("empty.q", "")],
)
def test_lines_of_other_programs_are_left_alone(
    tmp_path: Path, name: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(content)
    assert as_lines(tmp_path / name) == content


def test_lines_of_what_is_no_text_are_its_hash(tmp_path: Path) -> None:
    (tmp_path / "kdb.q").write_bytes(b"q\0\x1b[2J")
    assert as_lines(tmp_path / "kdb.q").startswith("6 bytes, sha256 ")
    (tmp_path / "endless.q").symlink_to("/dev/zero")
    assert as_lines(tmp_path / "endless.q") == "not a file\n"


@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07\x12"])
def test_lines_of_a_broken_model_name_it_by_its_hash(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    assert as_lines(tmp_path / "model.onnx").startswith("not a model that can be read: ")
