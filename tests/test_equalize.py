"""`improve { equalize }`: the same function, with weights of alike ranges in the channels between layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import artifacts, project
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, numpy_helper
from unequal import unequal

import qdsl
from qdsl.diag import QdslError
from qdsl.graph import from_proto, load, to_proto
from qdsl.harness.results import Key
from qdsl.passes.index import make
from qdsl.passes.pipeline import canonicalise
from qdsl.quant.equalizing import FLOOR, Layer, Link, factors
from qdsl.rewrite import Outcome, run
from qdsl.steps import opening
from qdsl.steps.job import Job, Wishes
from qdsl.work.prepared import prepare, read

EQUALIZED = "improve { equalize }\n"
PER_TENSOR = """recipe demo
model onnx "demo.onnx"
data calib from npz "calib.npz"
quantize static {
  weights uint8 symmetric per_tensor
  activations uint8 affine per_tensor
  calibrate minmax on calib
}
target ort

"""


class Case(NamedTuple):
    title: str
    text: str
    fires: int
    refuses: int = 0


_W = "float[2, 2, 1, 1] w = {8, 8, 0.5, 0.5}, float[2] b = {8, -0.5}, float[2, 2, 1, 1] v = {1, 4, 0.5, 4}"


def _net(body: str, more: str = "", outputs: str = "float[1, 2, 3, 3] y") -> str:
    return f"g (float[1, 2, 3, 3] x) => ({outputs}) <{_W}{more}> {{ {body} }}"


_CASES = (
    Case("a pair", _net("[one] c = Conv (x, w, b) [relu] r = Relu (c) [two] y = Conv (r, v)"), 1),
    Case(
        "a pair behind a Clip: channels have bounds of their own",
        _net(
            "[one] c = Conv (x, w, b) [clip] r = Clip (c, low, high) [two] y = Conv (r, v)",
            ", float low = {0}, float high = {6}",
        ),
        1,
    ),
    Case(
        "each channel is two inputs of a Gemm",
        "g (float[1, 2, 1, 2] x) => (float[1, 1] y) <float[2, 2, 1, 1] w = {8, 8, 0.5, 0.5}, "
        "float[4, 1] m = {1, 0.5, 4, 2}> "
        "{ [one] c = Conv (x, w) [flat] f = Flatten (c) [two] y = Gemm (f, m) }",
        1,
    ),
    Case(
        "read elsewhere",
        _net(
            "[one] c = Conv (x, w, b) [two] y = Conv (c, v) z = Neg (c)", "", "float[1, 2, 3, 3] y, float[1, 2, 3, 3] z"
        ),
        *(0, 1),
    ),
    Case(
        "padded with ones",
        _net(
            "[one] c = Conv (x, w, b) [pad] p = Pad (c, pads, one) [two] y = Conv (p, v)",
            ", int64[8] pads = {0, 0, 1, 1, 0, 0, 0, 0}, float one = {1}",
            "float[1, 2, 4, 4] y",
        ),
        *(0, 1),
    ),
    Case("not homogeneous", _net("[one] c = Conv (x, w, b) [act] s = Sigmoid (c) [two] y = Conv (s, v)"), 0, 1),
    Case(
        "bounded below by another number",
        _net(
            "[one] c = Conv (x, w, b) [clip] r = Clip (c, low, high) [two] y = Conv (r, v)",
            ", float low = {-1}, float high = {6}",
        ),
        *(0, 1),
    ),
    Case(
        "even already",
        "g (float[1, 2, 3, 3] x) => (float[1, 2, 3, 3] y) <float[2, 2, 1, 1] w = {1, 2, 2, 1}> "
        "{ [one] c = Conv (x, w) [two] y = Conv (c, w) }",
        *(0, 1),
    ),
)


def equalized(proto: ModelProto) -> tuple[ModelProto, Outcome]:
    model = from_proto(proto)
    trace = run([make("equalize")], model)
    return to_proto(model), trace.steps[0].outcome


def parsed(text: str) -> ModelProto:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    for number, node in enumerate(proto.graph.node):
        node.name = node.name or f"n{number}"
    return proto


def outputs(proto: ModelProto, seed: int = 0, scale: float = 1.0) -> list[Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    run = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    draw, found = np.random.default_rng(seed), []
    shape = [d if isinstance(d, int) else 1 for d in run.get_inputs()[0].shape]
    for _ in range(4):
        feed = {run.get_inputs()[0].name: scale * draw.standard_normal(shape).astype(np.float32)}
        found += run.run(None, feed)
    return found


def assert_same(one: ModelProto, two: ModelProto, tolerance: float = 1e-5) -> None:
    """Within `tolerance` of the largest value of each output."""
    for was, now in zip(outputs(one), outputs(two), strict=True):
        assert np.abs(was - now).max() <= tolerance * np.abs(was).max()


@pytest.mark.parametrize("case", _CASES, ids=[case.title for case in _CASES])
def test_edits_are_counted_and_results_stay(case: Case) -> None:
    proto = parsed(case.text)
    after, outcome = equalized(proto)
    assert (len(outcome.fired), len(outcome.refused)) == (case.fires, case.refuses)
    assert_same(proto, after)
    assert len(equalized(after)[1].fired) == 0


def test_behind_a_clip_of_an_unknown_shape_channels_keep_their_axis() -> None:
    """Of a signal [batch, channels, length]: a shift with an axis more would be another function."""
    body = "[one] c = Conv (x, w, b) [clip] r = Clip (c, low, high) [two] y = Conv (r, v)"
    weights = _W.replace("1, 1]", "1]")
    text = f"g (float[1, 2, 5] x) => (float[1, 2, 5] y) <{weights}, float low = {{0}}, float high = {{6}}> {{ {body} }}"
    known = parsed(text)
    unknown = parsed(text)
    for each in (*unknown.graph.input, *unknown.graph.output):
        each.type.tensor_type.ClearField("shape")
    after, outcome = equalized(unknown)
    assert len(outcome.fired) == 1
    (shift,) = (each for each in after.graph.initializer if each.name == "clip_shift")
    assert list(shift.dims) == [1, 2, 1]
    after.graph.input[0].CopyFrom(known.graph.input[0])
    assert_same(known, after)


def test_channels_without_values_are_left_alone() -> None:
    """Of a picture without rows, which no runtime takes."""
    _, outcome = equalized(
        parsed(
            "g (float[1, 2, 0, 2] x) => (float[1, 1] y) <float[2, 2, 1, 1] w = {8, 8, 0.5, 0.5}, float[0, 1] m = {}> "
            "{ [one] c = Conv (x, w) [flat] f = Flatten (c) [two] y = Gemm (f, m) }"
        )
    )
    assert (len(outcome.fired), len(outcome.refused)) == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("weight", ["w", "v"])
@pytest.mark.filterwarnings("error")
def test_weights_that_are_not_finite_are_left_alone_and_told(weight: str, value: float) -> None:
    proto = parsed(_CASES[0].text)
    (held,) = (each for each in proto.graph.initializer if each.name == weight)
    values = numpy_helper.to_array(held).copy()
    values.flat[0] = value
    held.CopyFrom(numpy_helper.from_array(values, weight))
    _, outcome = equalized(proto)
    assert not outcome.fired
    assert [each.reason for each in outcome.refused] == ["its weights or those of two are not finite"]


def test_golden(golden: Callable[[str, str], None]) -> None:
    parts = []
    for case in _CASES:
        proto = parsed(case.text)
        after, outcome = equalized(proto)
        parts += [f"== {case.title}", onnx.printer.to_text(to_proto(from_proto(proto)).graph)]
        parts += [f"fired {fired.rule}: {', '.join(fired.nodes)}" for fired in outcome.fired]
        parts += [f"refused {refused.node}: {refused.reason}" for refused in outcome.refused]
        parts += [f"-> {onnx.printer.to_text(after.graph)}" if outcome.fired else "-> unchanged", ""]
    golden("passes/equalize.txt", "\n".join(parts))


LAYERS = st.sampled_from(["plain", "depthwise", "grouped", "transposed"])
BETWEEN = st.sampled_from(["", "Relu", "LeakyRelu", "PRelu", "Clip", "MaxPool", "AveragePool", "Pad", "Clip Pad"])


def random_net(steps: list[tuple[str, str]], seed: int, ending: str) -> ModelProto:
    """Layers of 4 channels, each channel with a range of its own, and what stands between them; then a Gemm."""
    draw, nodes, constants, last = np.random.default_rng(seed), [], {}, "x"

    def add(op: str, *names: str, **attrs: Any) -> None:
        nonlocal last
        out = f"t{len(nodes)}"
        nodes.append(onnx.helper.make_node(op, [last, *names], [out], name=f"{op}_{len(nodes)}", **attrs))
        last = out

    def constant(name: str, values: Any, kind: type = np.float32) -> str:
        constants[f"{name}{len(nodes)}"] = np.asarray(values, kind)
        return f"{name}{len(nodes)}"

    for layer, between in steps:
        group = {"depthwise": 4, "grouped": 2}.get(layer, 1)
        spread = np.exp2(draw.uniform(-4, 4, (4, 1, 1, 1)))
        weights = draw.standard_normal((4, 4 // group, 3, 3)) * spread
        bias = constant("b", draw.standard_normal(4) * spread.ravel())
        op = "ConvTranspose" if layer == "transposed" else "Conv"
        add(op, constant("w", weights / np.abs(weights).max()), bias, group=group, pads=[1] * 4)
        for word in between.split():
            if word == "PRelu":
                add(word, constant("slope", draw.uniform(0, 1, (4, 1, 1))))
            elif word == "Clip":
                add(word, constant("low", 0), constant("high", draw.uniform(0.5, 6)))
            elif word.endswith("Pool"):
                add(word, kernel_shape=[3, 3], pads=[1] * 4)
            elif word == "Pad":
                add(word, constant("pads", [0, 0, 1, 0, 0, 0, 0, 1], np.int64))
            else:
                add(word)
    if ending == "pooled":
        add("GlobalAveragePool")
        add("Flatten")
        add("Gemm", constant("m", draw.standard_normal((5, 4))), constant("c", draw.standard_normal(5)), transB=1)
    nodes[-1].output[0] = "y"
    graph = onnx.helper.make_graph(
        nodes,
        "random",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4, 6, 6])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@settings(max_examples=8)
@given(
    st.lists(st.tuples(LAYERS, BETWEEN), min_size=2, max_size=4), st.integers(0, 2**32), st.sampled_from(["", "pooled"])
)
def test_random_nets_compute_what_they_did(steps: list[tuple[str, str]], seed: int, ending: str) -> None:
    """Every pair is one of those that a scale passes through; behind a Clip, sums cancel a little of float32."""
    proto = random_net(steps, seed, ending)
    after, outcome = equalized(proto)
    last = "as y", "even enough"  # the last layer's channels are an output
    known = [refused for refused in outcome.refused if not refused.reason.endswith(last)]
    assert known == []
    assert_same(proto, after, 3e-5 if any("Clip" in between for _, between in steps) else 1e-5)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(0, 2**32))
def test_ranges_settle_where_both_sides_are_alike(channels: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    first = np.exp2(draw.uniform(-2.5, 2.5, (1, channels, 3)))
    second = np.exp2(draw.uniform(-2.5, 2.5, (1, 2, channels)))
    layers = [Layer(first / first.max()), Layer(second / second.max())]
    (s,) = factors(layers, [Link(0, 1)])
    assert s.min() == 1
    written, read_ = layers[0].writes(np.ones(3)), layers[1].reads(np.ones(2))
    assert (np.maximum(written, FLOOR) / s) / (np.maximum(read_, FLOOR) * s) == pytest.approx(
        (np.maximum(written, FLOOR) / np.maximum(read_, FLOOR) / s**2)[0], rel=1e-9
    )


def rescaled(seed: int = 3) -> ModelProto:
    """A chain whose channels were rescaled, which changes no answer."""
    steps = [("plain", "Relu"), ("depthwise", "Relu"), ("plain", "Relu")]
    return random_net(steps, seed, "pooled")


@pytest.mark.slow
def test_weights_of_one_scale_come_back(tmp_path: Path) -> None:
    """Compared with the float model as it was given, the build is far nearer; it runs in the same kernels."""
    levels, kernels = {}, {}
    for name, rules in (("plain", ""), ("equalized", EQUALIZED)):
        recipe = project(tmp_path / name, rules, head=PER_TENSOR, proto=rescaled())
        (made,) = qdsl.compile(recipe, out=tmp_path / name / "build", lock=False).targets
        levels[name] = made.verification.outputs[0].sqnr_db
        kernels[name] = [(each.kernel, each.real) for each in made.verification.kernels]
        assert made.verification.as_predicted
    assert levels["equalized"] > levels["plain"] + 3, levels
    assert kernels["equalized"] == kernels["plain"]


def test_bounds_of_channels_run_in_integers(tmp_path: Path) -> None:
    """A zero of a channel stays one: what a Clip writes and what comes of it have one scale."""
    proto = random_net([("plain", "Clip"), ("depthwise", "Clip"), ("plain", "")], 5, "pooled")
    recipe = project(tmp_path, EQUALIZED, head=PER_TENSOR, proto=proto)
    (made,) = qdsl.compile(recipe, out=tmp_path / "build", lock=False).targets
    found = {each.kernel: (each.predicted, each.real) for each in made.verification.kernels}
    assert found["Conv"] == (3, 3)
    assert found["Add"][0] == found["Add"][1] >= 1
    held = [layer.sqnr_db for layer in made.verification.layers]
    assert held and min(held) > 15, "inside, channels have the ranges of the equalized model"
    emitted = onnx.load(made.emitted.model)
    assert not {"Relu", "Clip"} & {node.name for node in emitted.graph.node if node.op_type == "Min"}
    groups = {tensor.tensor: tensor.group for tensor in made.plan.tensors}
    writers = {node.name: node for node in prepare(read(recipe, {})).view.nodes}
    for name in (name for name in writers if name.endswith("_low")):
        clip = writers[name.removesuffix("_low")].outputs[0]
        assert groups[writers[name].outputs[0]] == groups[clip]


def test_the_float_model_is_the_users(tmp_path: Path) -> None:
    recipe = project(tmp_path, EQUALIZED, head=PER_TENSOR, proto=rescaled())
    found = prepare(read(recipe, {}))
    given_ = from_proto(rescaled())
    canonicalise(given_)
    assert to_proto(found.floats).graph.initializer == to_proto(given_).graph.initializer
    assert to_proto(found.model).graph.initializer != to_proto(given_).graph.initializer


BLOCKS = {
    "ort": "target ort",
    "tensorrt": "target tensorrt { quantize static { activations 8 bit; weights 8 bit } }",
    "stm32": "target stm32 { quantize static { activations int8 affine per_tensor; weights int8 per_tensor } }",
}


def of_target(target: str, folder: Path) -> Path:
    head = PER_TENSOR.replace("target ort", BLOCKS[target])
    proto = random_net([("plain", "Clip"), ("depthwise", "Relu"), ("plain", "Relu")], 7, "pooled")
    return project(folder, EQUALIZED, head=head, proto=proto)


@pytest.mark.parametrize("target", BLOCKS)
def test_every_target_plans_it(target: str, tmp_path: Path) -> None:
    (plan,) = qdsl.plan(of_target(target, tmp_path)).plans
    assert any(node.node.endswith("_shift") for node in plan.nodes)


def test_a_scale_per_channel_behind_a_clip_is_told(tmp_path: Path) -> None:
    """By a parameter, in a recipe that extends one: the same pairs under one scale per weight are not."""
    proto = random_net([("plain", "Clip"), ("depthwise", "Relu"), ("plain", "")], 7, "pooled")
    head = PER_TENSOR.replace("symmetric per_tensor", "symmetric $scales")
    project(tmp_path, "param scales = per_tensor from [per_tensor, per_channel]\n" + EQUALIZED, head=head, proto=proto)
    (tmp_path / "child.q").write_text('recipe child\nextends "demo.q"\nimprove { bias_correct }\n')
    found = {}
    for scales in ("per_tensor", "per_channel"):
        (plan,) = qdsl.plan(tmp_path / "child.q", sets={"scales": scales}).plans
        assert any(node.node.endswith("_shift") for node in plan.nodes)
        assert {bias.corrected_on for bias in plan.biases} == {"calib"}
        found[scales] = [flag.nodes for flag in plan.flags if flag.code == "equalize-costs"]
    assert found == {"per_tensor": [], "per_channel": [("Conv_0",)]}


def test_compile_tells_how_many_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, told = project(tmp_path, EQUALIZED, head=PER_TENSOR, proto=rescaled()), []
    monkeypatch.setattr(opening, "require_loads", lambda _: None)
    job = Job(Wishes(recipe, tmp_path / "build"), tell=told.append)
    for step in (opening.require, opening.read, opening.prepare, opening.check):
        step(job)
    assert [(event.stage, event.text) for event in told[1:]] == [("equalize", "3 pairs")]


@pytest.mark.slow
@pytest.mark.parametrize("target", BLOCKS)
def test_every_target_makes_it(target: str, tmp_path: Path) -> None:
    (made,) = qdsl.compile(of_target(target, tmp_path), out=tmp_path / "build", lock=False).targets
    assert all(output.sqnr_db > 15 for output in made.verification.outputs)


def test_explain_names_both_ends(tmp_path: Path) -> None:
    recipe = project(tmp_path, EQUALIZED, head=PER_TENSOR, proto=rescaled())
    (found,) = qdsl.explain(recipe, "Conv_0")
    assert "equalized    channels from Conv_0 to Conv_2" in found.text
    assert "improve equalize" in found.text or "improve" in found.text
    (last,) = qdsl.explain(recipe, "Gemm_8")
    assert "channels from Conv_4 to Gemm_8" in last.text


def test_nothing_to_equalize_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, EQUALIZED))
    (told,) = caught.value.diagnostics
    assert told.code == "nothing-to-equalize"
    assert any("read more than once" in note for note in told.notes)


def test_a_file_that_stays_as_it_is_refuses_it(tmp_path: Path) -> None:
    recipe = project(tmp_path, EQUALIZED, head='recipe demo\nmodel onnx "demo.onnx"\nquantize none\ntarget ort\n')
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    assert [each.code for each in caught.value.diagnostics] == ["setting-unused"]


@pytest.mark.slow
def test_the_lock_rebuilds_the_same_bytes_and_goes_stale_without_it(tmp_path: Path) -> None:
    recipe = project(tmp_path, "improve { equalize; bias_correct }\n", head=PER_TENSOR, proto=rescaled())
    qdsl.compile(recipe, out=tmp_path / "one", workers=1, measure=False)
    (tmp_path / "calib.npz").unlink()
    qdsl.compile(recipe, out=tmp_path / "two", locked=True, measure=False)
    one, two = (artifacts(tmp_path / name / "demo") for name in ("one", "two"))
    assert one["ort/model.onnx"] == two["ort/model.onnx"]
    recipe.write_text(recipe.read_text().replace("equalize; ", ""))
    with pytest.raises(QdslError) as caught:
        qdsl.compile(recipe, out=tmp_path / "three", locked=True, measure=False)
    assert caught.value.diagnostics[0].code.startswith("lock-")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("mobilenet_v1_0.25_224_imagenet_float", 1e-4),  # of probabilities, behind 27 ReLU6
        ("mlperf_vww_96_float", 1e-5),
        ("mlperf_resnet8_float", 1e-5),
    ],
)
def test_whole_nets_compute_what_they_did(name: str, tolerance: float, testdata: Path) -> None:
    model = load(testdata / "models" / f"{name}.onnx", widen=True)
    canonicalise(model)
    before = to_proto(model)
    assert run([make("equalize")], model).edits > 0
    assert_same(before, to_proto(model), tolerance)


MOBILENET = """recipe demo
model onnx "{model}"
input {{ resize 224 crop; mean [127.5]; std [127.5] }}
data calib from images "calib/*"
data held from images "held/*"
quantize static {{ weights uint8 symmetric per_tensor; activations uint8 affine per_tensor; calibrate minmax on calib }}
{improve}
keep op Softmax in float32
target ort
evaluate fidelity on held {{ measure agreement }}
"""


def halved(folder: Path, images: Path, half: int) -> None:
    """Every other picture to calibrate on, and the rest."""
    for name, first in (("calib", half), ("held", 1 - half)):
        (folder / name).mkdir(parents=True)
        for file in sorted(images.glob("*.jpg"))[first::2]:
            (folder / name / file.name).symlink_to(file)


def agreement(folder: Path, recipe: str, images: Path) -> float:
    """The share of pictures, in halves that calibrate and are judged in turn, with the same best class as in float."""
    shares = []
    for half in (0, 1):
        place = folder / str(half)
        halved(place, images, half)
        (place / "demo.q").write_text(recipe)
        made = qdsl.compile(place / "demo.q", out=place / "build", lock=False)
        assert made.targets[0].verification.as_predicted
        shares.append(made.evaluations[0].of("ort").scores[Key("agreement")])
    return float(np.mean(shares))


@pytest.mark.slow
def test_mobilenet_per_tensor_keeps_its_answers(testdata: Path, tmp_path: Path) -> None:
    """With one scale per weight nothing is left of its answers; on pictures that did not calibrate most come back."""
    model = testdata / "models" / "mobilenet_v1_0.25_224_imagenet_float.onnx"
    found = {}
    for name, improve in (("plain", ""), ("improved", "improve { equalize; bias_correct }")):
        recipe = MOBILENET.format(model=model, improve=improve)
        found[name] = agreement(tmp_path / name, recipe, testdata / "images" / "coco_ccby")
    assert found["plain"] <= 0.1, found
    assert found["improved"] >= 0.5, found


UNEQUAL = """recipe demo
model onnx "{model}"
input {{ resize 96 stretch; rescale 1/255; shape [1, 3, 96, 96] }}
data calib from images "calib/*"
data held from images "held/*"
quantize static {{ weights uint8 symmetric per_tensor; activations uint8 affine per_tensor; calibrate minmax on calib }}
{improve}
target ort
evaluate fidelity on held {{ measure agreement }}
"""


@pytest.mark.slow
def test_what_channels_of_unequal_range_lose_comes_back(testdata: Path, tmp_path: Path) -> None:
    """The person detector of MLPerf Tiny with its channels rescaled, one scale per weight."""
    found, before = {}, load(testdata / "models" / "mlperf_vww_96_float.onnx", widen=True)
    canonicalise(before)
    onnx.save(unequal(to_proto(before)), tmp_path / "unequal.onnx")
    for name, improve in (("plain", ""), ("improved", "improve { equalize; bias_correct }")):
        recipe = UNEQUAL.format(model=tmp_path / "unequal.onnx", improve=improve)
        found[name] = agreement(tmp_path / name, recipe, testdata / "images" / "coco_ccby")
    assert found["plain"] <= 0.97, found
    assert 1 - found["improved"] <= (1 - found["plain"]) / 2, found
