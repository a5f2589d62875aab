"""What an emitted file says of where it comes from: read back as it was meant, the same bytes every time, harmless
where somebody changed it, and nothing of it changes what a runtime computes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, project, session, tree
from onnx import ModelProto

import qdsl
from qdsl.diag import QdslError
from qdsl.lang import loads
from qdsl.provenance import extracting
from qdsl.provenance.content import content_of
from qdsl.provenance.recipe_files import recipe_files, text_sha256
from qdsl.provenance.records import KEY, Provenance, RecipeFile, name_problem
from qdsl.provenance.stamping import carried, read, stamp_bytes, text_of
from qdsl.spec.bounds import UnfitError

PARAMETERS = "param wide = int8\n"


def build(folder: Path, rules: str = "", *, head: str = HEAD, **how: Any) -> Path:
    """The emitted file of the small net."""
    recipe = project(folder, rules, head=head)
    return qdsl.compile(recipe, out=folder / "build", measure=False, **how).targets[0].emitted.model


def told(path: Path) -> Provenance:
    found = carried(onnx.load(path))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("built"))


# ---- what it says ----------------------------------------------------------------------------------------------------


def test_it_says_what_made_the_file(built: Path) -> None:
    home = built.parents[3]
    found, lock = told(built), qdsl.lock.read(home / "demo.lock")
    manifest = json.loads((built.parent / "manifest.json").read_text(encoding="utf-8"))
    assert lock is not None
    text = (home / "demo.q").read_text(encoding="utf-8")
    assert found.files == (RecipeFile("demo.q", text_sha256(text), text),)
    assert (found.recipe, found.target, found.mode, found.parameters) == ("demo", "ort", "static", ())
    assert found.model == lock.model and found.tables == lock.capability
    assert dict(found.tools) == manifest["tools"] and found.plan_sha256 == manifest["plan_sha256"]
    assert [(used.name, used.files, used.samples) for used in found.data] == [("calib", 1, 6)]
    assert len(found.pinned) == 16 * (len(lock.ranges) + len(lock.tuned))
    assert found.content == content_of(onnx.load(built), built.parent)


def test_parameters_stand_in_it_with_their_values(tmp_path: Path) -> None:
    head = HEAD.replace("weights int8", "weights $wide").replace("model onnx", f"{PARAMETERS}model onnx")
    path = build(tmp_path, head=head, sets={"wide": "uint8"})
    assert told(path).parameters == (("wide", "uint8"),)


def test_guarded_cpus_are_those_of_the_recipe(tmp_path: Path) -> None:
    path = build(tmp_path, head=HEAD.replace("target ort", "target ort { cpu x86_vnni }"))
    assert told(path).cpus == ("x86_vnni",)


@pytest.mark.parametrize("how", ["hashes", "none"])
def test_the_text_can_be_left_out(how: str, tmp_path: Path) -> None:
    path = build(tmp_path, "# the secret word is melon\n", provenance=how)
    assert b"melon" not in path.read_bytes()
    proto = onnx.load(path)
    found = carried(proto)
    if how == "none":
        assert found is None and KEY not in {entry.key for entry in proto.metadata_props}
    else:
        assert found is not None and found.files[0].text is None and found.parameters is None
        assert found.files[0].sha256 == text_sha256((tmp_path / "demo.q").read_text(encoding="utf-8"))


def test_another_word_for_what_is_carried_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`provenance` is 'all': expected one of text, hashes, none"):
        build(tmp_path, provenance="all")


def test_a_copied_file_stays_as_it_is(tmp_path: Path) -> None:
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize none\ntarget ort\n'
    path = build(tmp_path, head=head)
    assert path.read_bytes() == (tmp_path / "demo.onnx").read_bytes()


# ---- bytes -----------------------------------------------------------------------------------------------------------


def test_with_a_lock_without_one_and_elsewhere_the_bytes_are_the_same(built: Path, tmp_path: Path) -> None:
    first = built.read_bytes()
    assert build(tmp_path / "deeper" / "there").read_bytes() == first
    recipe = tmp_path / "deeper" / "there" / "demo.q"
    again = qdsl.compile(recipe, out=tmp_path / "again", measure=False, locked=True).targets[0].emitted.model
    assert again.read_bytes() == first
    free = qdsl.compile(recipe, out=tmp_path / "free", measure=False, lock=False).targets[0].emitted.model
    assert free.read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_only_metadata_is_added_and_the_answers_are_the_same(built: Path, tmp_path: Path) -> None:
    bare = build(tmp_path, provenance="none")
    with_it, without = onnx.load(built), onnx.load(bare)
    kept = [entry for entry in with_it.metadata_props if entry.key != KEY]
    assert len(kept) == len(with_it.metadata_props) - 1
    del with_it.metadata_props[:]
    with_it.metadata_props.extend(kept)
    assert with_it == without
    x = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    one, other = (session(path).run(None, {"x": x})[0] for path in (built, bare))
    assert np.array_equal(one, other)


MODES = {
    "static": HEAD,
    "dynamic": 'recipe demo\nmodel onnx "demo.onnx"\nquantize dynamic { weights 8 bit }\n'
    "layers all { weights 8 bit }\ntarget ort\n",
    "float16": 'recipe demo\nmodel onnx "demo.onnx"\nquantize float { weights float16 }\ntarget ort\n',
}


@pytest.mark.parametrize("mode", MODES)
def test_the_bytes_it_takes_are_foreseen(mode: str, tmp_path: Path) -> None:
    """The predicted size is off by as much as it is without provenance, to within a few dozen bytes."""
    recipe = project(tmp_path, "# " + "a long remark " * 200 + "\n", head=MODES[mode])
    sizes = {
        how: qdsl.compile(recipe, out=tmp_path / how, measure=False, provenance=how).targets[0]
        for how in ("text", "none")
    }
    took = sizes["text"].emitted.size - sizes["none"].emitted.size
    whole = stamp_bytes(told(sizes["text"].emitted.model))
    assert took == len(whole) > 2800
    bare = qdsl.plan(recipe).plans[0].totals.predicted_bytes
    assert sizes["text"].plan.totals.predicted_bytes == bare
    (tmp_path / "demo.q").write_text(MODES[mode], encoding="utf-8")
    shorter = qdsl.plan(recipe).plans[0].totals.predicted_bytes
    assert bare - shorter == len("# " + "a long remark " * 200 + "\\n")
    assert abs(sizes["text"].emitted.size - bare) <= 0.05 * bare


# ---- edits are noticed -----------------------------------------------------------------------------------------------


def weight_moved(proto: ModelProto) -> None:
    tensor = next(each for each in proto.graph.initializer if each.name == "w1_quantized")
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]


def attribute_changed(proto: ModelProto) -> None:
    conv = next(node for node in proto.graph.node if node.op_type == "Conv")
    next(each for each in conv.attribute if each.name == "pads").ints[0] = 2


def output_renamed(proto: ModelProto) -> None:
    proto.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 7


EDITS: dict[str, tuple[Callable[[ModelProto], object], set[str]]] = {
    "nothing": (lambda proto: None, set()),
    "metadata": (lambda proto: proto.metadata_props.add(key="a", value="b"), set()),
    "a weight": (weight_moved, {"constants"}),
    "an attribute": (attribute_changed, {"nodes"}),
    "an origin": (lambda proto: proto.graph.node[-1].metadata_props.add(key="a", value="b"), {"nodes"}),
    "an output": (output_renamed, {"declarations"}),
    "a version": (lambda proto: proto.opset_import.add(domain="other", version=1), {"declarations"}),
    "a note": (lambda proto: setattr(proto.graph, "doc_string", "mine"), {"declarations"}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_the_file_shows_in_its_hashes(edit: str, built: Path, tmp_path: Path) -> None:
    change, parts = EDITS[edit]
    proto = onnx.load(built)
    change(proto)
    onnx.save(proto, tmp_path / "edited.onnx")
    now, then = content_of(onnx.load(tmp_path / "edited.onnx"), tmp_path), told(built).content
    changed = {part for part in ("nodes", "constants", "declarations") if getattr(now, part) != getattr(then, part)}
    assert changed == parts


def test_constants_may_move_into_a_file_beside_the_model(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "outside.onnx"
    onnx.save_model(onnx.load(built), path, save_as_external_data=True, location="data", size_threshold=0)
    assert content_of(onnx.load(path, load_external_data=False), tmp_path) == told(built).content
    data = (tmp_path / "data").read_bytes()
    (tmp_path / "data").write_bytes(bytes([data[0] ^ 1]) + data[1:])
    changed = content_of(onnx.load(path, load_external_data=False), tmp_path)
    assert changed.constants != told(built).content.constants and changed.nodes == told(built).content.nodes


# ---- the files of a recipe -------------------------------------------------------------------------------------------


def chain(folder: Path) -> Path:
    """A recipe that extends one above its folder, which extends one in another."""
    (folder / "mine").mkdir(parents=True)
    (folder / "common").mkdir()
    root = HEAD.replace("demo.onnx", "../mine/demo.onnx").replace("recipe demo", "recipe root")
    (folder / "common" / "root.q").write_text(root, encoding="utf-8")
    (folder / "middle.q").write_text('recipe middle\nextends "common/root.q"\n', encoding="utf-8", newline="\r\n")
    project(folder / "mine")
    text = '# grüße\nrecipe top\nextends "../middle.q"\n\n'
    (folder / "mine" / "top.q").write_text(text, encoding="utf-8")
    return folder / "mine" / "top.q"


def test_bases_are_called_as_they_are_written(tmp_path: Path) -> None:
    loaded = qdsl.lang.load(chain(tmp_path))
    assert [file.name for file in recipe_files(loaded.recipe)] == ["top.q", "../middle.q", "../common/root.q"]


def test_a_base_with_an_absolute_name_tells_no_folder(tmp_path: Path) -> None:
    (tmp_path / "base.q").write_text("recipe base\n", encoding="utf-8")
    loaded = loads(f'recipe top\nextends "{tmp_path / "base.q"}"\n')
    assert [file.name for file in recipe_files(loaded.recipe)] == ["top.q", "base.q"]


def test_a_recipe_comes_out_with_its_bases_where_they_stood(tmp_path: Path) -> None:
    recipe = qdsl.lang.load(chain(tmp_path / "a")).recipe
    known = replace(_any(), files=recipe_files(recipe))
    out = tmp_path / "out"
    out.mkdir()
    files = extracting.extract(known, out)
    assert [path.relative_to(out).as_posix() for path in files] == ["recipe/top.q", "middle.q", "common/root.q"]
    originals = {"recipe/top.q": "mine/top.q", "middle.q": "middle.q", "common/root.q": "common/root.q"}
    assert tree(out) == {name: (tmp_path / "a" / other).read_bytes() for name, other in originals.items()}
    qdsl.check(files[0])


# ---- what others may have written ------------------------------------------------------------------------------------


def _any() -> Provenance:
    text = "recipe demo\n"
    zero = "0" * 64
    data = {
        "recipe": "demo",
        "files": [{"name": "demo.q", "sha256": text_sha256(text), "text": text}],
        "parameters": [],
        "statements": zero,
        "model": [["demo.onnx", zero]],
        "data": [],
        "pinned": "",
        "target": "ort",
        "mode": "static",
        "cpus": [],
        "tables": [],
        "plan_sha256": zero,
        "tools": [],
        "content": {"nodes": zero, "constants": zero, "declarations": zero},
        "format": 1,
    }
    return read(json.dumps(data))


def test_it_reads_back_as_it_was_written() -> None:
    assert read(text_of(_any())) == _any()


def named(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda data: data["files"][0].update(name=name)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an absolute name": (named("/etc/passwd"), "expected a relative name"),
    "a name that leads out": (named("a/../../b.q"), "expected a relative name"),
    "a folder above": (named(".."), "expected a relative name"),
    "a drive": (named("C:/b.q"), "without `:`"),
    "a backslash": (named("..\\b.q"), "without `:`"),
    "no name": (named(""), "expected a relative name"),
    "a NUL": (named("a\0b"), "printable"),
    "a long name": (named("a" * 300), "shorter"),
    "two of one name": (
        lambda data: data["files"].append({**data["files"][0], "name": "DEMO.q"}),
        "two files are called `demo.q`",
    ),
    "another text": (lambda data: data["files"][0].update(text="recipe other\n"), "the hash of the text"),
    "half a character": (lambda data: data["files"][0].update(text="\ud800"), "UTF-8"),
    "too many files": (lambda data: data.update(files=[named_file(n) for n in range(17)]), "at most 16"),
    "no file": (lambda data: data.update(files=[]), "at least 1"),
    "a key more": (lambda data: data.update(run="rm"), "unknown key `run`"),
    "a key less": (lambda data: data.pop("model"), "`model` is missing"),
    "another version": (lambda data: data.update(format=2), "it is of format 2"),
    "a file of the model twice": (lambda data: data.update(model=data["model"] * 2), "model: expected each name once"),
    "a dataset twice": (
        lambda data: data.update(data=[{"name": "calib", "files": 1, "samples": 1, "sha256": "0" * 64}] * 2),
        "data: expected each name once",
    ),
    "half a mark": (lambda data: data.update(pinned="0" * 15), "16 hexadecimal digits"),
    "letters for a mark": (lambda data: data.update(pinned="g" * 16), "16 hexadecimal digits"),
}


def named_file(number: int) -> dict[str, str]:
    return {"name": f"{number}.q", "sha256": text_sha256(""), "text": ""}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_somebody_changed_is_refused_by_its_place(case: str) -> None:
    change, words = HOSTILE[case]
    data = json.loads(text_of(_any()))
    change(data)
    with pytest.raises(UnfitError) as caught:
        read(json.dumps(data))
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', '{"format": 1, "format": 1}', "[" * 100_000])
def test_what_is_no_provenance_is_refused(text: str) -> None:
    with pytest.raises(UnfitError):
        read(text)


@pytest.mark.parametrize("name", ["a.q", "../a.q", "../../b/a.q", "b/c/a.q", "grüße.q", "..a.q"])
def test_names_that_are_taken(name: str) -> None:
    assert name_problem(name) == ""


def test_extracting_overwrites_nothing(tmp_path: Path) -> None:
    there = tmp_path / "there.q"
    there.write_text("mine", encoding="utf-8")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for place in (there, tmp_path, tmp_path / "dangling"):
        with pytest.raises(QdslError) as caught:
            extracting.extract(_any(), place)
        assert caught.value.diagnostics[0].code == "show-exists"
    assert there.read_text(encoding="utf-8") == "mine" and not (tmp_path / "nowhere").exists()
    assert extracting.extract(_any(), tmp_path / "new" / "a.q") == (tmp_path / "new" / "a.q",)
    assert (tmp_path / "new" / "a.q").read_bytes() == b"recipe demo\n"
