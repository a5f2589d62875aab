"""`compile` and its lock: ranges pinned, every kind of change refused by name, the same bytes without the data."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, ROOT, artifacts, cli, environment, project, residual_net, tree
from data_cases import data_spec
from PIL import Image
from seeds import few_of
from test_data_sources import opened, yolo_tree

import qdsl
from qdsl.cli import main
from qdsl.data import Dataset, ModelInput
from qdsl.data import open as open_data
from qdsl.diag import Diagnostic, Diagnostics, QdslError
from qdsl.lock import Fingerprints
from qdsl.ranges.locking import Pinned, Wish
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

PICTURES = HEAD.replace('npz "calib.npz"', 'images "photos" { take 6 seed 3 }').replace(
    "data calib", "input { resize 8 stretch; rescale 1/255 }\ndata calib"
)


def photos(folder: Path) -> Path:
    """The small network with six of nine pictures to calibrate on, and its lock."""
    recipe = project(folder, head=PICTURES)
    (folder / "photos").mkdir()
    draw = np.random.default_rng(4)
    for index in range(9):
        pixels = draw.integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{index:02}.png")
    return recipe


def compiled(recipe: Path, **settings: Any) -> Any:
    return qdsl.compile(recipe, out=recipe.parent / "build", workers=1, **settings)


def stale(recipe: Path, **settings: Any) -> Diagnostic:
    """What a compile with the lock refuses; it must leave the lock and the build alone."""
    before = tree(recipe.parent)
    with pytest.raises(QdslError) as caught:
        compiled(recipe, **settings)
    (found,) = caught.value.diagnostics
    assert found.code == "lock-stale"
    assert tree(recipe.parent) == before
    return found


def rewrite(recipe: Path, old: str, new: str) -> None:
    text = recipe.read_text(encoding="utf-8")
    assert old in text
    recipe.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The small network with a rule, compiled once: its lock stands beside it."""
    made = project(tmp_path, "keep op Gemm in float32\nlayers op Conv { weights int8 per_tensor }\n")
    compiled(made)
    return made


# ---- fresh -----------------------------------------------------------------------------------------------------------


def test_the_second_compile_takes_the_ranges(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    first = compiled(recipe)
    assert (first.from_lock, first.lock) == (False, tmp_path / "demo.lock")
    before = tree(tmp_path)
    heard: list[str] = []
    second = compiled(recipe, listener=lambda event: heard.append(event.stage))
    assert (second.from_lock, second.lock) == (True, tmp_path / "demo.lock")
    assert "calibrate" not in heard and "lock" in heard
    assert second.ranges == first.ranges
    assert second.targets[0].verification == first.targets[0].verification
    assert tree(tmp_path) == before


def test_the_lock_holds_every_fact(tmp_path: Path) -> None:
    result = compiled(photos(tmp_path))
    text = (tmp_path / "demo.lock").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert [line.split('"')[3] for line in lines if line.startswith("data ")] == sorted(
        line.split('"')[3] for line in lines if line.startswith("data ")
    )
    assert sum(line.startswith("data ") for line in lines) == 6
    assert sum(line.startswith("range ") for line in lines) == len(result.ranges.low) > 0
    assert all(line.endswith('"minmax on calib"') for line in lines if line.startswith("range "))
    assert str(tmp_path) not in text and os.uname().nodename not in text


@pytest.mark.parametrize(
    "words", few_of([("--workers", "2"), ("--workers", "1", "--batch", "3"), ("--workers", "3")], 1)
)
def test_the_lock_is_the_same_bytes_however_it_is_made(words: tuple[str, ...], tmp_path: Path) -> None:
    compiled(photos(tmp_path / "a"))
    recipe = photos(tmp_path / "b")
    done = cli("compile", recipe, "--out", tmp_path / "out", *words, env={"PYTHONHASHSEED": str(len(words))})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "b" / "demo.lock").read_bytes() == (tmp_path / "a" / "demo.lock").read_bytes()


FRESH: dict[str, Callable[[str], str]] = {
    "comments": lambda text: "# a word\n" + text.replace("\n\n", "\n# another\n\n"),
    "spacing": lambda text: text.replace("  weights int8", "\tweights     int8").replace(" {\n", " {\n\n"),
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "semicolons": lambda text: text.replace("symmetric per_channel\n", "symmetric per_channel;"),
    "evaluate": lambda text: text + "evaluate fidelity on calib { measure sqnr; require size <= 9 MiB }\n",
    "data that only measures": lambda text: text + 'data val from npz "calib.npz"\nevaluate fidelity on val\n',
    "a budget in the target": lambda text: text.replace("target ort", "target ort { require size <= 9 MiB }"),
    "profile": lambda text: text.replace("target ort", "target ort { profile latency { runs 5 } }"),
    "expect": lambda text: text.replace("keep op Gemm", "keep op Gemm expect 1"),
    "a name for a selection": lambda text: text.replace("keep op Gemm", "select g = op Gemm\nkeep g"),
    "order of statements": lambda text: text.replace("target ort\n", "").replace(
        "recipe demo", "recipe demo\ntarget ort"
    ),
}


@pytest.mark.parametrize("change", FRESH)
def test_what_changes_no_range_keeps_the_lock_fresh(change: str, recipe: Path) -> None:
    before = (recipe.parent / "demo.lock").read_bytes()
    text = recipe.read_text(encoding="utf-8")
    assert FRESH[change](text) != text
    recipe.write_bytes(FRESH[change](text).encode())
    assert compiled(recipe).from_lock
    assert (recipe.parent / "demo.lock").read_bytes() == before


def test_extending_a_base_says_the_same(recipe: Path) -> None:
    text = recipe.read_text(encoding="utf-8")
    (recipe.parent / "base.q").write_text(text.replace("recipe demo\n", "recipe base\n"), encoding="utf-8")
    recipe.write_text('recipe demo\nextends "base.q"\n', encoding="utf-8")
    assert compiled(recipe).from_lock


# ---- stale -----------------------------------------------------------------------------------------------------------

# Text in the recipe, what stands there instead, what is named, and the line it stands on (1 for what is gone).
SAID: dict[str, tuple[str, str, str, int]] = {
    "calibrate": ("calibrate minmax on calib", "calibrate minmax on more", "`calibrate of quantize` changed", 7),
    "weights": ("weights int8 symmetric per_channel", "weights uint8", "`weights of quantize` changed", 5),
    "activations": ("activations uint8 affine", "activations int8 affine", "`activations of quantize` changed", 6),
    "data": ('npz "calib.npz"', 'npz "calib.npz" { take 4 }', "`data calib` changed", 3),
    "target": ("target ort", "target ort { threads 2 }", "`target ort` changed", 9),
    "another rule": ("op Gemm in", "op Gemm, op Add in", "this `keep` rule is new or changed", 11),
    "a new rule": ("keep op Gemm", "keep op Add in float32\nkeep op Gemm", "this `keep` rule is new or changed", 11),
    "a rule less": ("keep op Gemm in float32\n", "", "a `keep` rule is gone", 1),
    "a new input": ("target ort", "input { rescale 1/2 }\ntarget ort", "`input` is new", 9),
}


@pytest.mark.parametrize("change", SAID)
def test_a_change_of_the_recipe_is_named(change: str, recipe: Path) -> None:
    old, new, words, line = SAID[change]
    if "more" in new:
        rewrite(recipe, "quantize", 'data more from npz "calib.npz"\nquantize')
        line += 1
    rewrite(recipe, old, new)
    found = stale(recipe)
    said = [found.headline, *found.notes]
    assert [text for text in said if words in text], said
    assert found.span is not None
    if words in found.headline:
        assert found.span.line == line


def test_rules_in_another_order_are_named(recipe: Path) -> None:
    keep, layers = "keep op Gemm in float32\n", "layers op Conv { weights int8 per_tensor }\n"
    rewrite(recipe, keep + layers, layers + keep)
    assert "the rules stand in another order" in stale(recipe).headline


def test_one_flipped_byte_in_one_picture_is_named(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    used = [
        line.split('"')[3] for line in (tmp_path / "demo.lock").read_text().splitlines() if line.startswith("data ")
    ]
    data = bytearray((tmp_path / "photos" / used[2]).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "photos" / used[2]).write_bytes(data)
    found = stale(recipe)
    assert found.headline == f"`demo.lock` is stale: data calib: `{used[2]}` changed"
    assert found.span is not None and found.span.line == 4
    assert "is stale" in stale(recipe, locked=True).headline


def test_a_picture_that_is_not_taken_may_change(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    text = (tmp_path / "demo.lock").read_text()
    unused = [path for path in sorted((tmp_path / "photos").iterdir()) if f'"{path.name}"' not in text]
    assert len(unused) == 3
    unused[0].write_bytes(b"anything")
    assert compiled(recipe).from_lock


def test_pictures_gone_and_new_are_named(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    used = [
        line.split('"')[3] for line in (tmp_path / "demo.lock").read_text().splitlines() if line.startswith("data ")
    ]
    (tmp_path / "photos" / used[0]).unlink()
    found = stale(recipe)
    said = " ".join([found.headline, *found.notes])
    assert f"`{used[0]}` is gone" in said and "is new" in said
    assert compiled(recipe, locked=True).from_lock


def test_the_model_and_its_external_data_are_named(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    onnx.save(
        residual_net(),
        tmp_path / "demo.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="weights.bin",
        size_threshold=0,
    )
    compiled(recipe)
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[2] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)
    found = stale(recipe)
    assert found.headline == "`demo.lock` is stale: model: `weights.bin` changed"
    assert found.span is not None and found.span.line == 2
    onnx.save(residual_net(), tmp_path / "demo.onnx")
    found = stale(recipe, locked=True)
    assert "model: `demo.onnx` changed" in found.headline and found.notes == ("model: `weights.bin` is gone",)


def test_many_changes_are_counted(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    for path in (tmp_path / "photos").iterdir():
        shutil.copy(path, path.with_name(f"x{path.name}"))
        path.unlink()
    found = stale(recipe)
    assert found.headline.endswith(", and 11 more") and len(found.notes) == 11


# ---- update, locked, none --------------------------------------------------------------------------------------------


def test_update_measures_anew(recipe: Path) -> None:
    np.savez(recipe.parent / "calib.npz", x=np.random.default_rng(9).standard_normal((3, 3, 8, 8)).astype(np.float32))
    stale(recipe)
    assert not compiled(recipe, update=True).from_lock
    assert compiled(recipe).from_lock


def test_update_mends_a_broken_lock(recipe: Path) -> None:
    good = (recipe.parent / "demo.lock").read_bytes()
    (recipe.parent / "demo.lock").write_bytes(b"<<<<<<< ours\n")
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    assert [d.code for d in caught.value.diagnostics] == ["lock-invalid"]
    compiled(recipe, update=True)
    assert (recipe.parent / "demo.lock").read_bytes() == good


def test_locked_gives_the_same_bytes_without_the_data(tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    before = artifacts(tmp_path / "build")
    shutil.rmtree(tmp_path / "build")
    shutil.rmtree(tmp_path / "photos")
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    assert caught.value.diagnostics[0].code == "data-missing"
    assert caught.value.diagnostics[0].notes == ("`--locked` takes the ranges of `demo.lock` without data",)
    result = compiled(recipe, locked=True)
    assert result.from_lock
    assert [d.code for d in result.diagnostics] == ["lock-unchecked"]
    assert artifacts(tmp_path / "build") == before


def test_locked_elsewhere_gives_the_same_bytes(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tree(recipe.parent)
    monkeypatch.setattr("qdsl.lock.cpu_kind", lambda: (("arch", "riscv64"), ("isa", "unknown")))
    for settings in ({"locked": True}, {}):
        result = compiled(recipe, **settings)
        (note,) = result.diagnostics
        assert note.code == "lock-elsewhere"
        assert [text for text in note.notes if text.startswith("CPU arch") and text.endswith("riscv64 here")]
        assert tree(recipe.parent) == before


def test_no_lock_neither_reads_nor_writes(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    result = compiled(recipe, lock=False)
    assert (result.lock, result.from_lock) == (None, False)
    (tmp_path / "demo.lock").write_text("no lock at all", encoding="utf-8")
    assert not compiled(recipe, lock=False).from_lock
    assert (tmp_path / "demo.lock").read_text(encoding="utf-8") == "no lock at all"


def test_wishes_that_contradict() -> None:
    for settings in (
        {"locked": True, "update": True},
        {"locked": True, "lock": False},
        {"update": True, "lock": False},
    ):
        with pytest.raises(ValueError, match="exclude one another"):
            qdsl.compile("nothing.q", **settings)


def test_a_lock_covers_every_target(tmp_path: Path) -> None:
    recipe = project(tmp_path, "target stm32 { io int8 }\n")
    heard: list[str] = []
    result = compiled(recipe, target="ort", listener=lambda event: heard.append(f"{event.stage} {event.text}"))
    assert (result.lock, result.from_lock) == (None, False)
    assert [text for text in heard if text.startswith("lock demo.lock is not written")]
    assert not (tmp_path / "demo.lock").exists()


def test_a_parameter_given_another_value_is_another_recipe(tmp_path: Path) -> None:
    head = HEAD.replace("weights int8 symmetric", "weights $kind symmetric")
    recipe = project(tmp_path, "param kind = int8 from [int8, uint8]\n", head=head)
    compiled(recipe)
    assert compiled(recipe, sets={"kind": "int8"}).from_lock
    assert "`weights of quantize` changed" in stale(recipe, sets={"kind": "uint8"}).headline


def test_a_broken_budget_still_locks(tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.replace("target ort", "target ort { require size <= 1 KiB }"))
    assert not compiled(recipe).holds
    assert (tmp_path / "demo.lock").is_file()


def test_what_fails_leaves_no_lock(tmp_path: Path) -> None:
    recipe = project(tmp_path)
    (tmp_path / "build").write_text("in the way", encoding="utf-8")
    with pytest.raises(QdslError):
        compiled(recipe)
    assert not (tmp_path / "demo.lock").exists()


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_command_says_where_ranges_come_from(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compile", str(recipe), "--out", str(recipe.parent / "build")]
    assert main([*words, "--locked", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["from_lock"] is True
    assert "ranges from demo.lock, nothing to calibrate" in shown.err
    assert main([*words, "--no-lock", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["from_lock"], document["lock"]) == (False, None)
    with pytest.raises(SystemExit) as caught:
        main([*words, "--locked", "--update"])
    assert caught.value.code == 2


def run(program: str) -> int:
    """The exit code of a Python program in a process of its own."""
    words = [sys.executable, "-c", program]
    return subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, check=False).returncode


@pytest.mark.parametrize("number", few_of([signal.SIGINT, signal.SIGKILL], 1))
def test_the_old_lock_survives_a_kill(number: int, tmp_path: Path) -> None:
    recipe = photos(tmp_path)
    compiled(recipe)
    before = (tmp_path / "demo.lock").read_bytes()
    shutil.copy(tmp_path / "photos" / "00.png", tmp_path / "photos" / "99.png")
    rewrite(recipe, "take 6 seed 3", "take 10")
    program = (
        "import os, signal, qdsl\n"
        f"stop = lambda event: os.kill(os.getpid(), {int(number)}) if event.stage == 'ort' else None\n"
        f"qdsl.compile({str(recipe)!r}, out={str(tmp_path / 'build')!r}, update=True, listener=stop)\n"
    )
    assert run(program) != 0
    assert (tmp_path / "demo.lock").read_bytes() == before
    assert [p.name for p in tmp_path.glob(".*")] == []
    compiled(recipe, update=True)
    assert (tmp_path / "demo.lock").read_bytes() != before


@pytest.mark.slow
def test_a_kill_while_the_lock_is_written_leaves_the_old_one(recipe: Path) -> None:
    before = (recipe.parent / "demo.lock").read_bytes()
    rewrite(recipe, "keep op Gemm in float32\n", "")
    program = (
        "import os, pathlib, signal, qdsl\n"
        "rename = pathlib.Path.replace\n"
        "def replace(self, target):\n"
        "    if str(target).endswith('.lock'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return rename(self, target)\n"
        "pathlib.Path.replace = replace\n"
        f"qdsl.compile({str(recipe)!r}, out={str(recipe.parent / 'build')!r}, update=True)\n"
    )
    assert run(program) == -signal.SIGKILL
    assert (recipe.parent / "demo.lock").read_bytes() == before
    compiled(recipe, update=True)
    assert (recipe.parent / "demo.lock").read_bytes() != before


def test_a_lock_that_cannot_be_written_leaves_the_old_one(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (recipe.parent / "demo.lock").read_bytes()
    rewrite(recipe, "keep op Gemm in float32\n", "")

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qdsl.ranges.locking.write_text", full)
    with pytest.raises(QdslError, match="cannot be written: No space left") as caught:
        compiled(recipe, update=True)
    assert [d.code for d in caught.value.diagnostics] == ["lock-unwritable"]
    assert (recipe.parent / "demo.lock").read_bytes() == before


@pytest.mark.parametrize("method", ["entropy", "mse", "percentile 99.9", "mean_minmax"])
def test_every_method_is_taken_from_the_lock_to_the_bit(method: str, tmp_path: Path) -> None:
    recipe = project(tmp_path, head=HEAD.replace("calibrate minmax", f"calibrate {method}"))
    first = compiled(recipe)
    before = artifacts(tmp_path)
    (tmp_path / "calib.npz").unlink()
    second = compiled(recipe, locked=True)
    assert second.from_lock and second.ranges == first.ranges
    assert {**artifacts(tmp_path), "calib.npz": before["calib.npz"]} == before
    assert f'"{method} on calib' in (tmp_path / "demo.lock").read_text(encoding="utf-8")


# ---- what ships ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("lock", sorted((ROOT / "recipes").glob("*.lock")), ids=lambda path: path.stem)
def test_a_shipped_lock_is_fresh(lock: Path) -> None:
    """After a change of its recipe, model or data: `qdsl compile --update`, and commit the lock."""
    loaded = read(lock.with_suffix(".q"), {})
    prepared = prepare(loaded)
    plans = [decided.plan for decided in decide_all(prepared, None, Diagnostics())]
    names = sorted({t.calibration.data for plan in plans for t in plan.tensors if t.observe and t.calibration.data})
    pinned = Pinned(loaded.recipe, Wish())
    inputs = {name: prepared.view.tensors[name] for name in prepared.view.inputs}
    takes = {name: ModelInput(tensor.dtype or "float32", tensor.shape) for name, tensor in inputs.items()}

    def opened(name: str) -> Dataset:
        return open_data(loaded.recipe.dataset(name), loaded.recipe.inputs, takes, Diagnostics())

    ranges = pinned.ranges(prepared, plans, pinned.open(names, opened, Diagnostics()), Diagnostics())
    assert ranges is not None and ranges.count > 0


def test_what_labels_and_masks_say_is_told_by_contents(tmp_path: Path) -> None:
    """For what was measured on them: the same at another time, another where a box or a pixel is."""
    boxes = opened(data_spec("yolo", yolo_tree(tmp_path), split="train"))
    before = Fingerprints().labelled(boxes)
    assert [each.name for each in before] == list(boxes.ids) and before[0].sha256 != before[1].sha256
    os.utime(tmp_path / "labels/train/1.txt", (10**9, 10**9))
    assert Fingerprints().labelled(boxes) == before
    (tmp_path / "labels/train/1.txt").write_text("0 0.5 0.5 0.2 0.5\n")
    changed = Fingerprints().labelled(opened(data_spec("yolo", tmp_path / "people.yaml", split="train")))
    assert changed[0] != before[0] and changed[1:] == before[1:]
    for name, level in (("images/a.png", 9), ("masks/a.png", 1)):
        (tmp_path / "road" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), level).save(tmp_path / "road" / name)
    masks = opened(data_spec("masks", tmp_path / "road"))
    labels, mask = Fingerprints().labelled(masks)
    Image.new("L", (4, 4), 2).save(tmp_path / "road" / "masks/a.png")
    again = Fingerprints().labelled(masks)
    assert again[0] == labels and again[1] != mask
