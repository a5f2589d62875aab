"""Every setting of the language that a plan can speak of: two values give two plans, or a refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from plan_tools import HEAD, branches

from qdsl.diag import Diagnostics, QdslError, Severity
from qdsl.lang import loads
from qdsl.lang.vocabulary import TABLE
from qdsl.plan import gate, make
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import plan_hash

VIEW = branches()
REFUSED = "refused"

CACHED = f'calibrate from cache "{Path(__file__).resolve().parent}/data/branches_{{}}.cache"'

# Per block: the recipe around a setting. `@` is where the setting stands.
AROUND = {
    "input": HEAD + 'input "x" {\n  @\n}\n',
    "data": HEAD.replace("{ take 4 }", "{\n  @\n}"),
    "folder": HEAD.replace('from npz "calib.npz" { take 4 }', 'from folder "images" {\n  @\n}'),
    "table": HEAD.replace('from npz "calib.npz" { take 4 }', 'from csv "labels.csv" {\n  @\n}'),
    "clip": HEAD.replace('from npz "calib.npz" { take 4 }', 'from video "clip.mp4" {\n  @\n}'),
    "quantize": HEAD.replace("  calibrate minmax on calib\n", "  calibrate minmax on calib\n  @\n"),
    "weights": HEAD.replace("  weights int8 symmetric per_channel\n", "  @\n"),
    "activations": HEAD.replace("  activations uint8 affine per_tensor\n", "  @\n"),
    "calibrate": HEAD.replace("  calibrate minmax on calib\n", "  @\n").replace(
        "data calib", 'data other from npz "other.npz"\ndata calib'
    ),
    "layers": HEAD.replace("data calib", 'data other from npz "other.npz"\ndata calib') + "layers op Conv {\n  @\n}\n",
    "sensitivity": HEAD
    + "allocate weights from [int8, int4] {\n"
    + "  sensitivity gradient on calib { @ }\n  minimize loss under size <= 1 MB\n}\n",
    "allocate": HEAD + "allocate weights from [int8, int4] {\n  @\n  minimize loss under size <= 1 MB\n}\n",
    "improve": HEAD + "improve {\n  @\n}\n",
    "train": HEAD + "train qat on calib {\n  @\n}\n",
    "tune": HEAD + "tune latency {\n  @\n}\n",
    "target": HEAD.replace("target ort\n", "target ort {\n  @\n}\n"),
    "stm32": HEAD.replace("uint8", "int8").replace("target ort\n", "target stm32 {\n  @\n}\n"),
    "tensorrt": HEAD.replace("uint8 affine", "int8 symmetric").replace("target ort\n", "target tensorrt {\n  @\n}\n"),
    "evaluate": HEAD + "evaluate classification on calib {\n  @\n  measure top1\n}\n",
    "detection": HEAD + "evaluate detection on calib {\n  @\n  measure map50\n}\n",
    "corrupt": HEAD + "evaluate fidelity on calib {\n  corrupt { @ }\n}\n",
    "profile": HEAD + "evaluate classification on calib {\n  profile latency { @ }\n}\n",
}

# (block, word, form) -> where it stands, two values. `form` counts a word's rows in the table.
CASES: dict[tuple[str, str, int], tuple[str, str, str]] = {
    ("input", "resize", 0): ("input", "resize 8 stretch", "resize 8 letterbox"),
    ("input", "resize", 1): ("input", "resize 8 letterbox", "resize 8 letterbox top_left"),
    ("input", "crop", 0): ("input", "crop 8", "crop [8, 6]"),
    ("input", "rescale", 0): ("input", "rescale 1/255", "rescale 1/127"),
    ("input", "mean", 0): ("input", "mean [0, 0, 0]", "mean [0, 0, 1]"),
    ("input", "std", 0): ("input", "std [1, 1, 1]", "std [1, 1, 2]"),
    ("input", "color", 0): ("input", "color rgb", "color bgr"),
    ("input", "layout", 0): ("input", "layout nchw", "layout nhwc"),
    ("input", "shape", 0): ("input", "shape [1, 3, 8, 8]", "shape [2, 3, 8, 8]"),
    ("data", "split", 0): ("folder", "split train", "split val"),
    ("data", "take", 0): ("data", "take 4", "take 4 seed 1"),
    ("data", "oversample", 0): ("folder", 'oversample "a" 2', 'oversample "a" 3'),
    ("data", "ratio", 0): ("folder", 'ratio "a" 40 %, "b" 60 %', 'ratio "a" 50 %, "b" 50 %'),
    ("data", "balance", 0): ("folder", "balance classes", ""),
    ("data", "classes", 0): ("folder", 'classes ["a", "b"]', 'classes ["b", "a"]'),
    ("data", "ignore", 0): ("folder", "ignore 255", "ignore 0"),
    ("data", "array", 0): ("data", 'array "a" "x"', 'array "b" "x"'),
    ("data", "label", 0): ("data", 'label "y"', 'label "z"'),
    ("data", "every", 0): ("clip", "every 10", "every 5"),
    ("data", "columns", 0): ("table", 'columns "a", "b"', 'columns "a", "c"'),
    ("data", "outside", 0): ("data", 'outside "../a"', 'outside "../b"'),
    ("quantize", "weights", 0): ("weights", "weights int8 per_tensor", "weights int8 per_channel"),
    ("quantize", "activations", 0): ("activations", "activations uint8 affine", "activations uint8 symmetric"),
    ("quantize", "calibrate", 0): ("calibrate", "calibrate minmax on calib", "calibrate minmax on other"),
    ("quantize", "calibrate", 1): ("calibrate", CACHED.format("wide"), CACHED.format("narrow")),
    ("quantize", "range", 0): ("quantize", "range [0, 6]", "range [0, 1]"),
    ("layers", "weights", 0): ("layers", "weights uint8", "weights int8 reduce_range"),
    ("layers", "activations", 0): ("layers", "activations uint8 symmetric", "activations uint8 affine reduce_range"),
    ("layers", "calibrate", 0): ("layers", "calibrate minmax on calib", "calibrate minmax on other"),
    ("layers", "calibrate", 1): ("layers", CACHED.format("wide"), CACHED.format("narrow")),
    ("layers", "range", 0): ("layers", "range [0, 6]", "range [-1, 6]"),
    ("sensitivity", "take", 0): ("sensitivity", "take 4", "take 5"),
    ("sensitivity", "trials", 0): ("sensitivity", "trials 4", "trials 5"),
    ("sensitivity", "epsilon", 0): ("sensitivity", "epsilon 1e-3", "epsilon 1e-4"),
    ("allocate", "evaluations", 0): ("allocate", "evaluations 8", "evaluations 9"),
    ("improve", "equalize", 0): ("improve", "equalize", "bias_correct"),
    ("improve", "bias_correct", 0): ("improve", "bias_correct", ""),
    ("improve", "round", 0): ("improve", "round adaptive", "bias_correct"),
    ("train", "epochs", 0): ("train", "epochs 1", "epochs 2"),
    ("train", "batch", 0): ("train", "batch 1", "batch 2"),
    ("train", "optimizer", 0): ("train", "optimizer sgd lr 0.1", "optimizer sgd lr 0.2"),
    ("train", "schedule", 0): ("train", "schedule cosine", "schedule plateau"),
    ("train", "warm_start", 0): ("train", "warm_start epoch 1", "warm_start epoch 2"),
    ("train", "freeze_batchnorm", 0): ("train", "freeze_batchnorm", "freeze_batchnorm epoch 2"),
    ("train", "distill", 0): ("train", "distill 0.5", "distill 0.7"),
    ("train", "early_stop", 0): ("train", "early_stop 2", "early_stop 3"),
    ("train", "class_weights", 0): ("train", "class_weights balanced", ""),
    ("train", "class_weights", 1): ("train", 'class_weights "a" 2', 'class_weights "a" 3'),
    ("train", "validate", 0): ("train", "validate calib", ""),
    ("train", "loss", 0): ("train", "loss labels", "loss float_model"),
    ("tune", "trials", 0): ("tune", "trials 3", "trials 4"),
    ("tune", "blocks", 0): ("tune", "blocks 9", "blocks 11"),
    ("tune", "threads", 0): ("tune", "threads 1", "threads 2"),
    ("target", "device", 0): ("target", 'device "a"', 'device "b"'),
    ("target", "version", 0): ("target", 'version "1.22"', 'version "1.23"'),
    ("target", "threads", 0): ("target", "threads auto", "threads 2"),
    ("target", "cpu", 0): ("target", "cpu x86_vnni", "cpu x86, arm"),
    ("target", "exact", 0): ("target", "exact weights", "exact session"),
    ("target", "io", 0): ("stm32", "io int8", "optimize speed"),
    ("target", "optimize", 0): ("stm32", "optimize speed", "optimize ram"),
    ("target", "rounding", 0): ("stm32", "rounding ort", "rounding tflite"),
    ("target", "kernels", 0): ("stm32", "kernels own", "kernels cmsis_nn"),
    ("target", "high_precision", 0): ("tensorrt", "high_precision float16", "high_precision float32"),
    ("evaluate", "output", 0): ("evaluate", 'output "a"', 'output "b"'),
    ("evaluate", "decode", 0): ("detection", "decode yolov8", "decode yolox"),
    ("evaluate", "decode", 1): ("detection", 'decode python "a:f"', 'decode python "a:g"'),
    ("evaluate", "strides", 0): ("detection", "strides [8]", "strides [8, 16]"),
    ("evaluate", "anchors", 0): ("detection", "anchors [10, 13]", "anchors [10, 14]"),
    ("evaluate", "reg_max", 0): ("detection", "reg_max 7", "reg_max 16"),
    ("evaluate", "offset", 0): ("detection", "offset 0", "offset 0.5"),
    ("evaluate", "sizes", 0): ("detection", "sizes [30, 60]", "sizes [30, 61]"),
    ("evaluate", "ratios", 0): ("detection", "ratios [1]", "ratios [2]"),
    ("evaluate", "corners", 0): ("detection", "corners xyxy", "corners yxyx"),
    ("evaluate", "units", 0): ("detection", "units pixels", "units fractions"),
    ("evaluate", "background", 0): ("detection", "background first", "background none"),
    ("evaluate", "scores", 0): ("detection", "scores probabilities", "scores logits"),
    ("evaluate", "confidence", 0): ("detection", "confidence 0.1", "confidence 0.2"),
    ("evaluate", "nms", 0): ("detection", "nms 0.5", "nms 0.7"),
    ("corrupt", "light", 0): ("corrupt", "light", "blur"),
    ("corrupt", "blur", 0): ("corrupt", "blur", "light; blur"),
    ("corrupt", "noise", 0): ("corrupt", "noise", "jpeg"),
    ("corrupt", "jpeg", 0): ("corrupt", "jpeg", "jpeg; noise"),
    ("corrupt", "severity", 0): ("corrupt", "severity 1", "severity [1, 2]"),
    ("profile", "runs", 0): ("profile", "runs 10", "runs 20"),
    ("profile", "warmup", 0): ("profile", "warmup 1", "warmup 2"),
    ("profile", "batch", 0): ("profile", "batch 1", "batch 2"),
    ("profile", "threads", 0): ("profile", "threads 1", "threads 2"),
}


def keys() -> list[tuple[str, str, int]]:
    """Every row of the vocabulary: block, word, and which form of the word."""
    seen: dict[tuple[str, str], int] = {}
    found = []
    for row in TABLE:
        form = seen.get((row.block, row.word), -1) + 1
        seen[row.block, row.word] = form
        found.append((row.block, row.word, form))
    return found


def outcome(around: str, setting: str) -> str:
    """The plan of the recipe as a hash (where it says what, not on which line), or what refuses it."""
    try:
        recipe = loads(AROUND[around].replace("@", setting), name="demo.q").recipe
        target = recipe.targets[0].name
        plan = make(recipe, VIEW, target, float_bytes=1000, diags=Diagnostics())
    except QdslError as error:
        return f"{REFUSED}: {error}"
    refusals = [d for d in gate(recipe, target) if d.severity is Severity.ERROR]
    return f"{REFUSED}: {refusals[0].headline}" if refusals else plan_hash(_without_lines(plan))


def _without_lines(plan: Plan) -> Plan:
    """The plan without origins: a changed column or line is no changed plan."""
    from qdsl.spec.plan import Origin

    none = Origin("")
    return replace(
        plan,
        nodes=tuple(replace(n, origin=none) for n in plan.nodes),
        tensors=tuple(
            replace(t, origin=none, placed=none, calibration=replace(t.calibration, origin=none)) for t in plan.tensors
        ),
        weights=tuple(replace(w, origin=none) for w in plan.weights),
        biases=tuple(replace(b, origin=none) for b in plan.biases),
        counts=(),
    )


@pytest.mark.parametrize("key", keys(), ids=lambda key: f"{key[0]}-{key[1]}-{key[2]}")
def test_two_values_give_two_plans_or_a_refusal(key: tuple[str, str, int]) -> None:
    assert key in CASES, f"the setting {key} has no case here: add one with two values"
    around, one, other = CASES[key]
    first, second = outcome(around, one), outcome(around, other)
    if first.startswith(REFUSED):
        assert key[0] in ("sensitivity", "allocate", "improve", "train"), first
        return
    assert not second.startswith(REFUSED), second
    assert first != second


def test_no_case_speaks_of_a_word_that_is_gone() -> None:
    assert set(CASES) == set(keys())


# --- what gates compile ---------------------------------------------------------------------------------------------


def gated(rules: str, head: str = HEAD) -> list[tuple[str, str]]:
    recipe = loads(head + rules, name="demo.q").recipe
    return [(d.severity.value, d.code) for d in gate(recipe, recipe.targets[0].name)]


@pytest.mark.parametrize(
    ("settings", "checked", "told"),
    [
        ("", False, ["--check rtx", "--add layers.json"]),
        ("", True, []),
        ('device "jetson-orin-nano"; ', False, ["--add layers.json"]),
        ('device "jetson-orin-nano"; ', True, ["--add layers.json"]),
    ],
)
def test_what_decides_whether_an_engine_keeps_its_integers_is_told(
    settings: str, checked: bool, told: list[str]
) -> None:
    text = f"recipe demo\ntarget tensorrt {{ {settings}require qdq survives }}\n"
    said = " ".join(each.headline for each in gate(loads(text, name="demo.q").recipe, "tensorrt", checked=checked))
    assert [word for word in ("--check rtx", "--add layers.json") if word in said] == told


def test_a_plain_recipe_passes_the_gate() -> None:
    assert gated("") == []


def test_what_nothing_here_decides_is_warned_of() -> None:
    rules = (
        "evaluate classification on calib {\n  profile latency\n  require top1 drop <= 1 pp\n"
        "  require size <= 3.6 MiB\n  require latency <= 9 ms\n  require flash <= 1 MiB\n}\n"
    )
    assert gated(rules) == [("warning", "undecided")]
    assert gated("", HEAD.replace("target ort", "target ort { require miou >= 0.5 }")) == [("warning", "undecided")]
    board = HEAD.replace("target ort", 'target ort { device "a board" }')
    assert gated(rules, board) == [("warning", "undecided")] * 2


@pytest.mark.parametrize(
    "rules",
    [
        "train qat on calib { epochs 1 }\n",
        'passes { use "./mine.rule" before quantize }\n',
    ],
)
def test_what_is_not_carried_out_is_an_error(rules: str) -> None:
    assert gated(rules) == [("error", "not-yet")]


@pytest.mark.usefixtures("ort_alone")
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('model onnx "demo.onnx"', 'model torch "pkg:make"', "not-yet"),
        ("target ort", 'target tensorrt { version "10.3" }', "target-absent"),
        ("target ort", 'target stm32 { device "a" }', "target-absent"),
    ],
)
def test_other_models_and_targets_are_an_error(old: str, new: str, expected: str) -> None:
    assert gated("", HEAD.replace(old, new)) == [("error", expected)]
