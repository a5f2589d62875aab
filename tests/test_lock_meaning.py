"""What a recipe means to its lock: the same for every way to write it, another for everything that it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.lang import format_text, loads
from qdsl.lock import meaning

# One statement of every kind that calibration may depend on.
WHOLE = """recipe whole
model onnx "model.onnx"
input "images" {
  resize  64 letterbox
  rescale 1/255
  mean    [0.5, 0.4, 0.3]
}
data calib from folder "photos" { split train; take 30 seed 7; classes ["crack", "clean"] }
data more from images ["a.jpg", "b.jpg"]
data val from images "val/*.jpg"
quantize static {
  weights     int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate   minmax on calib
}
select head = under "/model.22" and not op Concat
keep head in float32
layers op Conv and (out_channels < 16 or depthwise) { weights int8 per_tensor; calibrate minmax on more }
layers tensor "x" { range [0, 6] }
place {
  leave op Conv -> op Relu expect 3
  share scale across op [MaxPool, Resize]
}
target ort { threads 2 }
evaluate fidelity on val { measure sqnr }
"""


def said(text: str) -> dict[str, str]:
    return {part.key: part.sha256 for part in meaning(loads(text, name="whole.q").recipe)}


def changed(text: str) -> set[str]:
    """The parts that are not what `WHOLE` says."""
    before, after = said(WHOLE), said(text)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_the_parts_of_a_recipe() -> None:
    rules = ["rule 0001 keep", "rule 0002 layers", "rule 0003 layers", "rule 0004 place", "rule 0005 place"]
    quantize = [f"{setting} of quantize" for setting in ("activations", "calibrate", "weights")]
    others = ["data calib", "data more", "input images", "model", "quantize", "target ort"]
    assert sorted(said(WHOLE)) == sorted([*rules, *quantize, *others])


def test_formatting_says_the_same() -> None:
    assert said(format_text(WHOLE, "whole.q")) == said(WHOLE)
    assert format_text(WHOLE, "whole.q") != WHOLE


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, WHOLE.count("\n") - 1), st.sampled_from(["# word", "", "  # 1 pp"])), max_size=6)
)
def test_comments_and_empty_lines_say_nothing(inserted: list[tuple[int, str]]) -> None:
    lines = WHOLE.split("\n")
    for at, text in sorted(inserted, reverse=True):
        lines.insert(at, text)
    assert said("\n".join(lines)) == said(WHOLE)


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_trailing_comments_and_more_spaces_say_nothing(data: st.DataObject) -> None:
    lines = [
        line.replace(" ", data.draw(st.sampled_from([" ", "  ", "\t"])), 1)
        + data.draw(st.sampled_from(["", " # a", "  "]))
        for line in WHOLE.split("\n")
    ]
    assert said("\n".join(lines)) == said(WHOLE)


# One edit each, and the parts that say something else after it.
EDITS: dict[str, tuple[str, str, set[str]]] = {
    "model": ("model.onnx", "other.onnx", {"model"}),
    "size": ("64 letterbox", "64 stretch", {"input images"}),
    "factor": ("1/255", "1/256", {"input images"}),
    "mean": ("0.4", "0.41", {"input images"}),
    "order of steps": (
        "  rescale 1/255\n  mean    [0.5, 0.4, 0.3]\n",
        "  mean [0.5, 0.4, 0.3]\n  rescale 1/255\n",
        {"input images"},
    ),
    "folder": ('"photos"', '"pictures"', {"data calib"}),
    "split": ("split train", "split val", {"data calib"}),
    "count": ("take 30", "take 31", {"data calib"}),
    "seed": ("seed 7", "seed 8", {"data calib"}),
    "classes": ('["crack", "clean"]', '["clean"]', {"data calib"}),
    "files": ('"b.jpg"', '"c.jpg"', {"data more"}),
    "dataset": ("calibrate   minmax on calib", "calibrate minmax on more", {"calibrate of quantize", "data calib"}),
    "method": ("calibrate   minmax", "calibrate entropy", {"calibrate of quantize"}),
    "type": ("uint8 affine", "int8 affine", {"activations of quantize"}),
    "granularity": ("symmetric per_channel", "symmetric per_tensor", {"weights of quantize"}),
    "selector": ("not op Concat", "not op Split", {"rule 0001 keep"}),
    "scope": ("/model.22", "/model.21", {"rule 0001 keep"}),
    "kept type": ("head in float32", "head in float16", {"rule 0001 keep"}),
    "condition": ("< 16", "< 17", {"rule 0002 layers"}),
    "comparison": ("< 16", "<= 16", {"rule 0002 layers"}),
    "or": ("16 or depthwise", "16 and depthwise", {"rule 0002 layers"}),
    "rule's data": ("minmax on more", "minmax on calib", {"rule 0002 layers", "data more"}),
    "range": ("[0, 6]", "[0, 6.5]", {"rule 0003 layers"}),
    "edge": ("op Relu", "op Clip", {"rule 0004 place"}),
    "shared": ("MaxPool, Resize", "MaxPool", {"rule 0005 place"}),
    "threads": ("threads 2", "threads auto", {"target ort"}),
    # what says the same
    "expect": (" expect 3", "", set()),
    "a number's spelling": ("[0, 6]", "[0.0, 6.0]", set()),
    "a selection's name": ("head", "tail", set()),
    "parentheses": ("op Conv and (", "(op Conv) and (", set()),
    "what is measured": ("measure sqnr", "measure cosine", set()),
    "on what is measured": ("val/*.jpg", "test/*.jpg", set()),
    "allow": ("target ort", 'allow half_quantized_op on op Resize because "it is meant"\ntarget ort', set()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_what_it_speaks_of(edit: str) -> None:
    old, new, parts = EDITS[edit]
    assert old in WHOLE
    assert changed(WHOLE.replace(old, new)) == parts


def test_paths_are_those_written(tmp_path: Path) -> None:
    here = meaning(loads(WHOLE, name="whole.q", directory=tmp_path).recipe)
    there = meaning(loads(WHOLE, name="whole.q", directory=tmp_path / "other").recipe)
    assert here == there


def test_hashes_stay_what_they_are(golden: Callable[[str, str], None]) -> None:
    """They stand in locks that people have committed: another way to compute them makes every lock stale."""
    golden("lock/meaning.txt", "".join(f"{key} {digest}\n" for key, digest in sorted(said(WHOLE).items())))
