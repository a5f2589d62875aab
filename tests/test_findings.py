"""What measured ranges and weights show: each finding goes away with the cure it names, and the artifact is better."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from bad_setups import build

import qdsl
from qdsl.api.compiling import CompileResult
from qdsl.cli import main
from qdsl.diag import Diagnostic
from qdsl.diag.codes.finding import CODES

ROOT = Path(__file__).resolve().parent.parent


def written(folder: Path, code: str, more: str = "", *, text: str = "") -> Path:
    """The example of a code with what stands beside it, and more lines at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    build(CODES[code].setup, folder)
    recipe = folder / "example.q"
    recipe.write_text((text or CODES[code].example) + more, encoding="utf-8")
    return recipe


def compiled(recipe: Path, **words: bool) -> CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", workers=1, **words)


def found(result: CompileResult, code: str) -> list[Diagnostic]:
    return [d for d in result.diagnostics if d.code == code]


def worst_sqnr(result: CompileResult) -> float:
    """In dB, of the tensor inside the graph or the output that lost most."""
    (target,) = result.targets
    told = [f.sqnr_db for f in (*target.verification.outputs, *target.verification.worst)]
    return min(value for value in told if value is not None)


def branch_sqnr(recipe: Path, result: CompileResult, channels: slice) -> float:
    """In dB, of some channels of the only output over all calibration samples."""
    import onnxruntime as ort

    (target,) = result.targets
    models = [recipe.parent / "model.onnx", target.emitted.model]
    samples = np.load(recipe.parent / "calib.npz")["images"]
    runs = [ort.InferenceSession(str(m), providers=["CPUExecutionProvider"]) for m in models]
    made = [np.concatenate([run.run(None, {"images": s[None]})[0] for s in samples]) for run in runs]
    exact, got = (values[:, channels].astype(np.float64) for values in made)
    return float(10 * np.log10(np.sum(exact**2) / np.sum((exact - got) ** 2)))


def test_a_starved_branch_is_named_and_its_cure_works(tmp_path: Path) -> None:
    recipe = written(tmp_path / "a", "range-disparity")
    before = compiled(recipe, lock=False)
    (told,) = found(before, "range-disparity")
    assert told.headline == "the values of a are lost: joined by join1, they keep too few steps"
    assert re.fullmatch(r"a in \[.*\] keeps 0\.\d+ of 256 steps", told.label)
    assert told.help == ('keep "join1" in float32',)
    cured = written(tmp_path / "b", "range-disparity", told.help[0] + "\n")
    after = compiled(cured, lock=False)
    assert not found(after, "range-disparity")
    small = slice(0, 3)
    assert branch_sqnr(cured, after, small) > branch_sqnr(recipe, before, small) + 24


def test_a_node_that_is_float_already_is_not_named_for_a_lost_signal(tmp_path: Path) -> None:
    (first,) = found(compiled(written(tmp_path / "a", "signal-lost")), "signal-lost")
    (line,) = re.findall("`(keep .*?)`", first.help[0])
    assert re.match("(it is lost first|most is lost) at `.*`: try", first.help[0]), "what was not tried is no cure"
    assert first.help[0].endswith("which was not tried here")
    (again,) = found(compiled(written(tmp_path / "b", "signal-lost", f"{line}\n")), "signal-lost")
    (other,) = re.findall("`(keep .*?)`", again.help[0])
    assert other != line


def test_a_calibration_that_the_recipe_has_is_not_told_as_a_cure(tmp_path: Path) -> None:
    text = CODES["signal-lost"].example
    for method in ("minmax", "percentile 99.9"):
        recipe = written(tmp_path / method, "signal-lost", text=text.replace("minmax", method))
        (told,) = found(compiled(recipe), "signal-lost")
        assert ("percentile 99.99" in told.help[-1]) is (method == "minmax")


def test_the_finding_is_the_same_from_the_lock_and_without_data(tmp_path: Path) -> None:
    recipe = written(tmp_path, "range-disparity")
    first = found(compiled(recipe), "range-disparity")
    again = compiled(recipe)
    assert again.from_lock
    assert found(again, "range-disparity") == first
    (tmp_path / "calib.npz").unlink()
    assert found(compiled(recipe, locked=True), "range-disparity") == first


def test_the_command_tells_it_in_words_and_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = written(tmp_path, "range-disparity")
    words = ["compile", str(recipe), "--out", str(tmp_path / "build"), "--no-lock"]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert "warning[range-disparity]" in said and 'help: keep "join1" in float32' in said
    assert main([*words, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["diagnostics"]
    assert (told["code"], told["help"]) == ("range-disparity", ['keep "join1" in float32'])


def test_what_is_allowed_is_not_told(tmp_path: Path) -> None:
    rest = 'allow shared_range on "join1" because "only the large values matter"\n'
    assert not found(compiled(written(tmp_path, "range-disparity", rest), lock=False), "range-disparity")


@pytest.mark.parametrize("gap, told", [(1.0, False), (8.0, False), (40.0, True)])
def test_the_bound_is_a_sixteenth_of_the_levels(gap: float, told: bool, tmp_path: Path) -> None:
    recipe = written(tmp_path, "range-disparity")
    model = onnx.load(tmp_path / "model.onnx")
    small, large = (next(i for i in model.graph.initializer if i.name == name) for name in ("small", "large"))
    values = onnx.numpy_helper.to_array(small) * np.float32(gap)
    large.CopyFrom(onnx.numpy_helper.from_array(values, "large"))
    onnx.save(model, tmp_path / "model.onnx")
    assert bool(found(compiled(recipe, lock=False), "range-disparity")) is told


ADD = 'keep "join1" in float32\n'
SHARED = {
    "a list of tensors": ('share scale across tensor ["a", "b"]', ADD),
    "a node's inputs and output": ("share scale across op Concat", ""),
    "a node's inputs": ("share scale across inputs of op Concat", ""),
}


@pytest.mark.parametrize("rule", sorted(SHARED))
def test_a_rule_that_shares_is_named_at_its_line(rule: str, tmp_path: Path) -> None:
    line, more = SHARED[rule]
    block = f"place {{ {line} }}\n"
    recipe = written(tmp_path / "a", "range-disparity", block + more)
    text = recipe.read_text()
    number = next(i for i, written in enumerate(text.split("\n"), 1) if line in written)
    told = next(d for d in found(compiled(recipe, lock=False), "range-disparity") if d.span and d.span.line == number)
    (cure,) = told.help
    assert cure.startswith((f"on line {number} write `", f"take `share scale` on line {number} out"))
    words = re.findall("`([^`]+)`", cure)
    if cure.startswith("on line"):
        text = text.replace(line, words.pop(0))
    else:
        text = text.replace(line, "")
        words.pop(0)
    text += "".join(f"{added}\n" for added in words)
    cured = written(tmp_path / "b", "range-disparity", text=text)
    left = found(compiled(cured, lock=False), "range-disparity")
    assert told.headline not in [one.headline for one in left]


def test_a_channel_that_is_lost_is_named_and_its_cure_works(tmp_path: Path) -> None:
    recipe = written(tmp_path / "a", "weight-disparity")
    before = compiled(recipe, lock=False)
    (told,) = found(before, "weight-disparity")
    assert told.label == "1 of 4 channels is over 100 times smaller than the largest, up to 1000"
    assert told.help == ("layers op Conv { weights int8 per_channel }",)
    cured = written(tmp_path / "b", "weight-disparity", told.help[0] + "\n")
    after = compiled(cured, lock=False)
    assert not found(after, "weight-disparity")
    weights = [_stored(result) for result in (before, after)]
    assert not weights[0][1].any() and weights[1][1].all()


def _stored(result: CompileResult) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    (target,) = result.targets
    constants = onnx.load(target.emitted.model).graph.initializer
    return next(onnx.numpy_helper.to_array(c) for c in constants if c.name == "w_quantized")


def test_channels_that_are_switched_off_do_not_count(tmp_path: Path) -> None:
    recipe = written(tmp_path, "weight-disparity")
    model = onnx.load(tmp_path / "model.onnx")
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[1] = 1e-12
    model.graph.initializer[0].raw_data = weights.tobytes()
    onnx.save(model, tmp_path / "model.onnx")
    assert not found(compiled(recipe, lock=False), "weight-disparity")


@pytest.mark.parametrize("given", ["[0, 0.001]", "[0, 1000]", "[0, 0.4]"])
def test_a_range_by_hand_that_does_not_fit_is_named_at_its_line(given: str, tmp_path: Path) -> None:
    text = CODES["range-by-hand"].example.replace("[0, 0.001]", given)
    recipe = written(tmp_path / "a", "range-by-hand", text=text)
    before = compiled(recipe, lock=False)
    (told,) = found(before, "range-by-hand")
    assert told.span is not None and f"range {given}" in text.split("\n")[told.span.line - 1]
    (cure,) = told.help
    instead = re.search(r"`range (\[.*\])`", cure)
    assert instead is not None
    cured = written(tmp_path / "b", "range-by-hand", text=text.replace(given, instead[1]))
    after = compiled(cured, lock=False)
    assert not found(after, "range-by-hand")
    assert branch_sqnr(cured, after, slice(None)) > branch_sqnr(recipe, before, slice(None)) + 20


def test_a_range_that_cuts_rare_outliers_is_fine(tmp_path: Path) -> None:
    recipe = written(tmp_path, "range-by-hand", text=CODES["range-by-hand"].example.replace("0.001", "1.29"))
    assert not found(compiled(recipe, lock=False), "range-by-hand")


def test_a_range_by_hand_is_held_against_data_when_ranges_are_locked(tmp_path: Path) -> None:
    recipe = written(tmp_path, "range-by-hand")
    first = found(compiled(recipe), "range-by-hand")
    assert len(first) == 1
    assert found(compiled(recipe), "range-by-hand") == first
    (tmp_path / "calib.npz").unlink()
    assert not found(compiled(recipe, locked=True), "range-by-hand"), "nothing is said without data"


def test_a_verdict_that_ranges_move_is_told_and_true(tmp_path: Path) -> None:
    result = compiled(written(tmp_path, "verdict-moved"), lock=False)
    (told,) = found(result, "verdict-moved")
    assert told.notes == ("clip1: planned float, now absorbed",)
    (target,) = result.targets
    assert next(n.prediction.runs for n in target.plan.nodes if n.node == "clip1") == "float"
    assert "Clip" not in dict(target.verification.op_counts)


@pytest.mark.slow
def test_boxes_and_scores_of_the_shipped_detector(tmp_path: Path) -> None:
    """Everything in integers: the scores are lost; with the cure pasted, they are not, and nothing else is told."""
    text = (ROOT / "recipes" / "yolov8n_static.q").read_text()
    text = text[: text.index("# Decoding")].replace("../examples", str(ROOT / "examples")).replace("300", "12")
    text = text.replace("yolov8n_static", "detector") + "target ort\n"
    recipe = tmp_path / "detector.q"
    recipe.write_text(text)
    (told,) = found(compiled(recipe, lock=False), "range-disparity")
    assert told.help == ("keep decode_head in float32",)
    assert float(re.findall(r"keeps (\S+) of 256", told.label)[0]) < 1
    recipe.write_text(text + told.help[0] + "\n")
    after = compiled(recipe, lock=False)
    assert not found(after, "range-disparity")


@pytest.mark.slow
def test_channels_of_a_real_classifier(testdata: Path, tmp_path: Path) -> None:
    """MobileNet v1 with one scale per tensor is lost; the cure alone brings it back."""
    text = f"""recipe mobilenet
model onnx "{testdata / "models/mobilenet_v1_0.25_224_imagenet_float.onnx"}"
input {{ resize 224 stretch; rescale 0.00784 }}
data calib from images "{testdata / "images/coco_ccby"}/**/*.jpg" {{ take 6 seed 1 }}
quantize static {{ weights int8 symmetric per_tensor; activations uint8 affine; calibrate minmax on calib }}
target ort
"""
    recipe = tmp_path / "mobilenet.q"
    recipe.write_text(text)
    before = compiled(recipe, lock=False)
    (told,) = found(before, "weight-disparity")
    recipe.write_text(text + told.help[0] + "\n")
    after = compiled(recipe, lock=False)
    assert not found(after, "weight-disparity")
    sqnr = [result.targets[0].verification.outputs[0].sqnr_db or 0.0 for result in (before, after)]
    assert sqnr[1] > sqnr[0] + 6
