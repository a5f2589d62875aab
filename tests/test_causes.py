"""Where the error of a quantized file comes from: planted faults are found first, and the figures are numpy's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import planted
import pytest
from compile_tools import cli
from conftest import ROOT
from numpy.typing import NDArray
from planted import Faults
from quantized import model_of, session

import qdsl
from qdsl import data
from qdsl.causes.causes import find_causes
from qdsl.causes.errors import Part, lost, outputs_db
from qdsl.causes.floats import float_weights
from qdsl.causes.outputs import samples_for
from qdsl.causes.records import Causes, gain, share
from qdsl.causes.running import loaded
from qdsl.causes.switching import NO_FLOATS, switched
from qdsl.causes.written_out import written_out
from qdsl.finished.reading import read
from qdsl.graph import Model, from_proto, load, to_proto
from qdsl.passes.pipeline import canonicalise
from qdsl.work.prepared import prepare, takes
from qdsl.work.prepared import read as read_recipe

Array = NDArray[Any]
NOTHING: Mapping[str, Array] = {}


def causes_of(proto: onnx.ModelProto, faults: Faults | None = None, **more: Any) -> Causes:
    """The causes of `proto`, quantized by the test's own quantizer with `faults`."""
    samples = planted.drawn(proto)
    made = from_proto(planted.quantized(proto, samples, faults, **more))
    return find_causes(read(made), samples, source="drawn inputs", floats=from_proto(proto))


def decibels(signal: Array, found: Array) -> float:
    noise = np.square(signal.astype(np.float64) - found).sum()
    return float(10 * np.log10(np.square(signal.astype(np.float64)).sum() / noise))


# --- planted faults --------------------------------------------------------------------------------------------------

WIDE = {
    "mobile": ("ar", "pr", "er", "g"),
    "residual": ("br", "ar", "s", "t"),
    "swish": ("a", "b", "c", "j"),
    "branches": ("ar", "m", "br", "dr"),
    "attention": ("q", "s", "o", "h"),
}
DEAD = {"mobile": ("w2", "w4"), "residual": ("w4",), "swish": ("w2",), "branches": ("w3",), "attention": ("w4",)}


def some(known: Mapping[str, tuple[str, ...]]) -> list[Any]:
    """The first of each model by default, the others with the slow tests."""
    marks = ((model, every, at) for model, every in known.items() for at in range(len(every)))
    return [pytest.param(model, every[at], marks=[pytest.mark.slow] if at else []) for model, every, at in marks]


@pytest.mark.parametrize(("model", "tensor"), some(WIDE))
def test_a_range_32_times_too_wide_comes_first(model: str, tensor: str) -> None:
    first = causes_of(planted.MODELS[model](), Faults(wide={tensor: 32.0})).causes[0]
    assert (first.tensor, first.role) == (tensor, "activation")
    assert first.own_db is not None and first.own_db < 25
    assert first.inherited_db is not None and first.inherited_db > first.own_db


@pytest.mark.parametrize(("model", "weight"), some(DEAD))
def test_collapsed_channels_of_a_weight_come_first(model: str, weight: str) -> None:
    """Per tensor, as a depthwise convolution is stored by mistake."""
    first = causes_of(planted.MODELS[model](), Faults(dead={weight: [0, 1]}), per_tensor=True).causes[0]
    assert (first.tensor, first.role) == (f"{weight}_DequantizeLinear_Output", "weight")
    assert first.inherited_db is None and first.gain_db is not None and first.gain_db > 3


@pytest.mark.parametrize("model", planted.MODELS)
def test_a_clipped_output_comes_first(model: str) -> None:
    first = causes_of(planted.MODELS[model](), Faults(wide={"y": 0.25})).causes[0]
    assert (first.tensor, first.share is not None and first.share > 0.95) == ("y_float", True)


REAL = ("mlperf_resnet8_float.onnx", "mlperf_vww_96_float.onnx", "mlperf_kws_float.onnx")
RECIPES = ("cracks_v1_static", "cracks_v2_static")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", (*REAL, *RECIPES))
def test_planted_faults_of_real_models_come_first(request: pytest.FixtureRequest, name: str) -> None:
    """Tensors that are too wide, weights of which every other channel is stored as zeros (depthwise ones, where there
    are any), a clipped output: each alone, drawn from a seed until one of a kind does harm."""
    proto, samples = _recipe(name) if name in RECIPES else _bare(request.getfixturevalue("testdata") / "models" / name)
    floats, plain = from_proto(proto), planted.quantized(proto, samples)
    found = 0
    for kind in _drawn_faults(proto):
        left = 1
        for faults in kind:
            made = planted.quantized(proto, samples, faults)
            if left and _harm(proto, plain, made, samples) > 6:
                asked = {*faults.wide, *(f"{name}_float" for name in faults.wide)}
                asked |= {f"{name}_DequantizeLinear_Output" for name in faults.dead}
                told = find_causes(read(from_proto(made)), samples, source="its own", floats=floats, most=8)
                first = told.causes[0]
                assert {first.tensor, *first.also} & asked, faults
                left, found = left - 1, found + 1
    assert found >= 2


def _harm(proto: onnx.ModelProto, plain: onnx.ModelProto, made: onnx.ModelProto, samples: Any) -> float:
    """How many dB the first output loses by the fault."""
    name = proto.graph.output[0].name
    exact, fine, faulty = (
        np.concatenate([session(each).run([name], dict(sample))[0].ravel() for sample in samples])
        for each in (proto, plain, made)
    )
    return decibels(exact, fine) - decibels(exact, faulty)


def _bare(path: Path) -> tuple[onnx.ModelProto, list[dict[str, Array]]]:
    model = load(path, widen=True)
    canonicalise(model)
    proto = to_proto(model)
    return proto, planted.drawn(proto, 16)


def _recipe(name: str) -> tuple[onnx.ModelProto, list[dict[str, Array]]]:
    found = prepare(read_recipe(ROOT / "recipes" / f"{name}.q", {}))
    dataset = data.open(found.recipe.dataset("calib"), found.recipe.inputs, takes(found))
    return to_proto(found.model), [dict(sample.arrays) for sample in islice(dataset, 6)]


def _drawn_faults(proto: onnx.ModelProto) -> list[list[Faults]]:
    draw = np.random.default_rng(3)
    ends = [info.name for info in proto.graph.output]
    shapes = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    weights = [node.input[1] for node in proto.graph.node if node.op_type == "Conv" and node.input[1] in shapes]
    deep = [weight for weight in weights if shapes[weight][1] == 1]
    wide = draw.permutation(sorted(planted.rounded(proto) - {*ends}))
    return [
        [Faults(wide={str(each): 32.0}) for each in wide],
        [Faults(dead={str(each): range(0, shapes[each][0], 2)}) for each in draw.permutation(deep or weights)],
        [Faults(wide={ends[0]: 0.25})],
    ]


# --- figures, by hand ------------------------------------------------------------------------------------------------


def rounded(x: Array, scale: float, zero: int) -> Array:
    steps = np.clip(np.rint(x / np.float32(scale)) + zero, 0, 255)
    return ((steps - zero) * np.float32(scale)).astype(np.float32)


def test_own_inherited_and_effects_are_those_of_numpy() -> None:
    draw = np.random.default_rng(1)
    x = draw.standard_normal((1, 6)).astype(np.float32)
    w = draw.standard_normal((6, 4)).astype(np.float32)
    codes = np.clip(np.rint(w / 0.05), -127, 127).astype(np.int8)
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> two (float[1,6] x) => (float[1,4] y) {
        xq = QuantizeLinear (x, xs, z)
        xd = DequantizeLinear (xq, xs, z)
        wd = DequantizeLinear (codes, ws)
        t = MatMul (xd, wd)
        tq = QuantizeLinear (t, ts, z)
        y = DequantizeLinear (tq, ts, z)
        }"""
    )
    given = {"xs": np.float32(0.03), "ws": np.float32(0.05), "ts": np.float32(0.4), "z": np.uint8(128), "codes": codes}
    for name, value in given.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    file = from_proto(proto)
    named = {node.op: node.name for node in file.nodes()}
    floats = model_of("f (float[1,6] x) => (float[1,4] y) { y = MatMul (x, w) }", w=w)
    floats.nodes()[0].name = named["MatMul"]
    found = find_causes(read(file), [{"x": x}], source="one", floats=floats)

    exact, xd, wd = x @ w, rounded(x, 0.03, 128), codes * np.float32(0.05)
    whole = rounded(xd @ wd, 0.4, 128)
    by_tensor = {each.tensor: each for each in found.causes}
    assert found.outputs_db == pytest.approx(decibels(exact, whole), abs=0.01)
    assert by_tensor["x"].own_db == pytest.approx(decibels(x, xd), abs=0.01)
    assert by_tensor["x"].inherited_db == math.inf
    assert by_tensor["x"].alone_db == pytest.approx(decibels(exact, xd @ w), abs=0.01)
    assert by_tensor["x"].without_db == pytest.approx(decibels(exact, rounded(x @ wd, 0.4, 128)), abs=0.01)
    assert by_tensor["wd"].own_db == pytest.approx(decibels(w, wd), abs=0.01)
    assert by_tensor["wd"].inherited_db is None
    assert by_tensor["wd"].alone_db == pytest.approx(decibels(exact, x @ wd), abs=0.01)
    assert by_tensor["t"].own_db == pytest.approx(decibels(exact, rounded(exact, 0.4, 128)), abs=0.01)
    assert by_tensor["t"].inherited_db == pytest.approx(decibels(exact, xd @ wd), abs=0.01)
    for each in found.causes:
        assert each.without_db is not None and found.outputs_db is not None
        assert each.gain_db == pytest.approx(each.without_db - found.outputs_db)


def test_of_a_loud_and_a_quiet_part_both_count() -> None:
    loud, quiet = np.full((1, 2, 3), 100.0, np.float32), np.full((1, 2, 3), 0.5, np.float32)
    expected = {"y": np.concatenate([loud, quiet], 1)}
    found = {"y": np.concatenate([loud, np.zeros_like(quiet)], 1)}
    whole = outputs_db([Part("y")], [(expected, found)])
    parts = outputs_db([Part("y", 1, 0, 2), Part("y", 1, 2, 4)], [(expected, found)])
    assert whole == pytest.approx(10 * math.log10((6 * 100**2 + 6 * 0.25) / (6 * 0.25)))
    assert parts == pytest.approx(10 * math.log10(2))  # the mean of no noise and of nothing but noise


def test_an_output_that_a_concat_joins_is_looked_at_piece_by_piece() -> None:
    """The fault is in the quiet part: against the whole output it is nothing, and it comes first all the same."""
    model = model_of(
        """parts (float[1,2,6] x) => (float[1,4,6] y) {
        loud = Mul (x, k)
        qs = QuantizeLinear (x, coarse)
        quiet = DequantizeLinear (qs, coarse)
        ql = QuantizeLinear (loud, fine)
        large = DequantizeLinear (ql, fine)
        y = Concat <axis=1> (large, quiet)
        }""",
        k=np.float32(100.0),
        coarse=np.float32(0.9),
        fine=np.float32(1.0),
    )
    x = np.random.default_rng(0).random((1, 2, 6)).astype(np.float32)
    found = find_causes(read(model), [{"x": x}], source="one")
    assert found.causes[0].tensor == "x"
    assert found.outputs_db is not None and found.outputs_db < 20


def test_outputs_that_cannot_be_compared_have_no_figure() -> None:
    one = {"y": np.ones((2, 2), np.float32)}
    assert outputs_db([Part("y")], [(one, {"y": np.full((2, 2), np.nan, np.float32)})]) is None
    assert outputs_db([Part("y")], [(one, {"y": np.ones((2, 3), np.float32)})]) is None
    assert outputs_db([Part("y")], [(one, one)]) == math.inf
    assert outputs_db([Part("y")], []) is None


def test_a_channel_that_is_gone_counts_beside_louder_ones() -> None:
    exact = np.ones((1, 4, 5, 5), np.float32) * np.asarray([100, 1, 1, 1], np.float32).reshape(1, 4, 1, 1)
    found = exact.copy()
    found[:, 1:] = 0
    assert lost(exact, found) == pytest.approx(0.75)
    assert lost(exact, exact) == 0.0
    assert lost(exact, np.full_like(exact, np.inf)) == math.inf


def test_shares_weigh_what_is_added_against_what_is_taken() -> None:
    assert share(10.0, 10.0, math.inf) == pytest.approx(1.0)
    assert share(10.0, 20.0, 10.0) == pytest.approx(0.05)  # a tenth added, nothing taken
    assert share(10.0, math.inf, 0.0) == pytest.approx(-4.5)  # the outputs would be far worse without it
    assert share(math.inf, math.inf, math.inf) == 0.0
    assert share(None, 30.0, 20.0) == pytest.approx(0.5)
    assert share(None, None, 20.0) == pytest.approx(1.0)
    assert (gain(10.0, 12.5), gain(None, 1.0), gain(3.0, None), gain(math.inf, math.inf)) == (2.5, math.inf, None, 0.0)


# --- switches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", planted.MODELS)
def test_with_every_switch_on_it_is_the_file_and_with_none_the_float_model(model: str) -> None:
    proto = planted.MODELS[model]()
    samples = planted.drawn(proto, 1)
    file, floats = from_proto(planted.quantized(proto, samples)), from_proto(proto)
    plain = switched(read(file), NOTHING)
    graph = switched(read(file), _floats_of(file, floats))
    names = [info.name for info in proto.graph.output]
    with loaded(graph) as variants, loaded(replace(plain, model=file, switches=())) as whole:
        for name in names:
            assert np.array_equal(variants.run(samples[0], graph.every)[name], whole.run(samples[0], ())[name])
    with loaded(graph) as variants, loaded(replace(plain, model=floats, switches=())) as exact:
        for name in names:
            np.testing.assert_allclose(
                variants.run(samples[0], ())[name], exact.run(samples[0], ())[name], rtol=1e-4, atol=1e-5
            )


def _floats_of(file: Model, floats: Model) -> dict[str, Array]:
    return float_weights(read(file), floats)


def test_what_is_rounded_twice_to_the_same_steps_is_one_cause() -> None:
    """A pair before a MaxPool and the same behind it: without one alone, nothing changes."""
    model = model_of(
        """pooled (float[1,2,4,4] x) => (float[1,2,2,2] y) {
        a = Relu (x)
        aq = QuantizeLinear (a, s)
        ad = DequantizeLinear (aq, s)
        m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (ad)
        mq = QuantizeLinear (m, s)
        md = DequantizeLinear (mq, s)
        y = Relu (md)
        }""",
        s=np.float32(0.3),
    )
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
    found = find_causes(read(model), [{"x": x}], source="one")
    (cause,) = found.causes
    assert {cause.tensor, *cause.also} == {"a", "m"}
    assert cause.gain_db == math.inf and cause.share == pytest.approx(1.0)


def test_weights_without_a_float_model_are_left_out_and_said_so() -> None:
    proto = planted.residual()
    samples = planted.drawn(proto)
    found = find_causes(read(from_proto(planted.quantized(proto, samples))), samples, source="drawn inputs")
    assert {why for _, why in found.left_out} == {NO_FLOATS}
    assert not [each for each in found.causes if each.role == "weight"]
    assert "no float model" in found.notes[0]


def test_weights_of_another_model_are_not_taken_for_its_own() -> None:
    proto = planted.residual()
    other = onnx.ModelProto.FromString(proto.SerializeToString())
    for tensor in other.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        tensor.CopyFrom(onnx.numpy_helper.from_array(-array, tensor.name))
    file = from_proto(planted.quantized(proto, planted.drawn(proto)))
    assert _floats_of(file, from_proto(other)) == {}


def test_a_shortlist_bounds_the_runs_and_is_the_same_each_time() -> None:
    proto = planted.mobile()
    samples = planted.drawn(proto)
    file = read(from_proto(planted.quantized(proto, samples)))
    floats = from_proto(proto)
    found = find_causes(file, samples, source="drawn inputs", floats=floats, most=5)
    assert (found.tried, sum(each.measured for each in found.causes)) == (5, 5)
    # Inside two samples twice, each tensor alone once, then three samples: float, all, and twice five tensors; cures.
    least = 4 + len(found.causes) + 3 * (2 + 2 * 5)
    assert least <= found.runs <= least + 3 * 3 * 5
    assert found == find_causes(file, samples, source="drawn inputs", floats=floats, most=5)


def test_progress_is_told_to_the_end() -> None:
    proto = planted.mobile()
    samples = planted.drawn(proto, 1)
    heard: list[tuple[str, int, int]] = []
    find_causes(
        read(from_proto(planted.quantized(proto, samples))),
        samples,
        source="drawn inputs",
        heard=lambda *words: heard.append(words),
    )
    last = {text: (done, total) for text, done, total in heard}
    assert len(last) == 5 and all(done == total for done, total in last.values())


def test_a_float_file_has_no_causes() -> None:
    found = find_causes(read(from_proto(planted.mobile())), planted.drawn(planted.mobile()), source="drawn inputs")
    assert found.causes == () and "nothing is quantized" in found.notes[0]


CORPUS = ("aimet", "brevitas_qcdq", "modelopt", "modelopt_fp32", "nncf", "quark", "quark_msdomain", "torch_pt2e")


@pytest.mark.parametrize("name", CORPUS)
def test_files_of_other_tools_are_taken_apart(testdata: Path, name: str) -> None:
    """Every pair on an activation has a switch: with none on, nothing but weights is rounded."""
    model = load(testdata / "audit_corpus" / f"{name}.onnx")
    samples = planted.drawn(onnx.load(testdata / "audit_corpus" / f"{name}.onnx"), 2)
    file = read(model)
    found = find_causes(file, samples, source="drawn inputs")
    asked = {each.tensor for each in file.tensors if each.role.value == "activation"}
    assert {
        name for cause in found.causes if cause.role == "activation" for name in (cause.tensor, *cause.also)
    } == asked
    assert found.outputs_db is not None and 10 < found.outputs_db < 60


@pytest.mark.parametrize("axis", ["one scale", "per channel"])
def test_integer_operators_are_told_apart_as_what_they_stand_for(axis: str) -> None:
    """A QLinearConv and a QLinearAdd, beside the same file with Q and DQ around Conv and Add."""
    draw = np.random.default_rng(0)
    codes = draw.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    scales = np.asarray([0.01, 0.02, 0.03, 0.01] if axis == "per channel" else 0.02, np.float32)
    given = {
        "s": np.float32(0.03), "z": np.uint8(128), "t": np.float32(0.3), "w": codes, "ws": scales,
        "wz": np.zeros(scales.shape, np.int8), "b": np.asarray([100, -50, 3, 9], np.int32),
    }  # fmt: skip
    text = """<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]> f (float[1,3,8,8] x) => (float[1,4,8,8] y) {
        xq = QuantizeLinear (x, s, z)
        c_quantized = QLinearConv <pads=[1,1,1,1]> (xq, s, z, w, ws, wz, t, z, b)
        a_quantized = com.microsoft.QLinearAdd (c_quantized, t, z, c_quantized, t, z, t, z)
        y = DequantizeLinear (a_quantized, t, z)
        }"""
    proto = onnx.parser.parse_model(text)
    for name, value in given.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), name))
    x = draw.standard_normal((1, 3, 8, 8)).astype(np.float32)
    found = find_causes(read(from_proto(proto)), [{"x": x}], source="one")
    by_tensor = {each.tensor: each for each in found.causes}
    assert {"x", "c", "a"} == set(by_tensor) and "2 operators compute on integers" in found.notes[-1]
    assert by_tensor["x"].own_db == pytest.approx(decibels(x, rounded(x, 0.03, 128)), abs=0.01)

    apart = from_proto(proto)
    assert written_out(apart) == 2
    (whole,), (pieces,) = session(proto).run(None, {"x": x}), session(to_proto(apart)).run(None, {"x": x})
    assert np.abs(whole - pieces).max() <= 0.3001  # a step, where halves round
    assert np.mean(whole != pieces) < 0.01


# --- cures -----------------------------------------------------------------------------------------------------------


def test_a_range_that_is_too_wide_is_cured_by_the_range_of_the_values() -> None:
    first = causes_of(planted.mobile(), Faults(wide={"pr": 32.0})).causes[0]
    assert first.cure is not None and first.without_db is not None and first.cure.after_db is not None
    (line,) = first.cure.lines
    assert line.startswith('layers tensor "pr" { range [0, ')
    assert first.cure.after_db > first.without_db - 1.0


def test_a_clipped_output_is_cured_under_its_name_in_the_float_model() -> None:
    first = causes_of(planted.swish(), Faults(wide={"y": 0.25})).causes[0]
    assert first.cure is not None and first.cure.lines[0].startswith('layers tensor "y" { range [')
    assert first.cure.gain_db > 15


def test_a_collapsed_channel_is_cured_by_a_scale_per_channel() -> None:
    first = causes_of(planted.mobile(), Faults(dead={"w4": [0, 1]}), per_tensor=True).causes[0]
    assert first.cure is not None
    assert first.cure.lines == ('layers "/e/Conv_6" { weights int8 symmetric per_channel }',)
    assert first.cure.gain_db > 20


def test_what_does_not_help_is_not_told() -> None:
    for each in causes_of(planted.swish()).causes:
        assert each.cure is None or each.cure.gain_db >= 0.1


# --- the verb --------------------------------------------------------------------------------------------------------


def _audited(tmp_path: Path, *more: str) -> tuple[int, str]:
    proto = planted.branches()
    path, floats = tmp_path / "quantized.onnx", tmp_path / "float.onnx"
    path.write_bytes(planted.quantized(proto, planted.drawn(proto), Faults(wide={"dr": 32.0})).SerializeToString())
    floats.write_bytes(proto.SerializeToString())
    done = cli("audit", path, "--causes", "--float", floats, "--fail-on", "never", *more)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_audit_tells_causes_in_words(tmp_path: Path) -> None:
    code, text = _audited(tmp_path)
    assert code == 0
    rows = text[text.index("causes  ") :].splitlines()
    assert "drawn inputs: values from 0 to 1, no real data" in rows[0]
    assert rows[2].split()[0] == "dr" and "cure: layers tensor" in rows[3]


@pytest.mark.slow
def test_audit_tells_causes_as_data(tmp_path: Path) -> None:
    code, text = _audited(tmp_path, "--json", "--samples", "2")
    told = json.loads(text)["causes"]
    assert (code, told["source"], told["samples"]) == (0, "drawn inputs", 2)
    first = told["causes"][0]
    assert (first["tensor"], first["role"], first["measured"]) == ("dr", "activation", True)
    assert first["cure"]["gain_db"] > 0 and first["own_db"] < first["inherited_db"]
    assert json.loads(_audited(tmp_path, "--json")[1])["causes"]["samples"] == 4


def test_outputs_of_few_numbers_are_looked_at_on_more_samples() -> None:
    assert samples_for(from_proto(planted.mobile()).view()) == 16  # five numbers
    assert samples_for(from_proto(planted.branches()).view()) == 4  # 640


def test_a_file_that_does_not_run_is_audited_all_the_same(tmp_path: Path) -> None:
    proto = planted.quantized(planted.branches(), planted.drawn(planted.branches()))
    next(node for node in proto.graph.node if node.op_type == "Relu").domain = "no.such.domain"
    proto.opset_import.add(domain="no.such.domain", version=1)
    path = tmp_path / "odd.onnx"
    path.write_bytes(proto.SerializeToString())
    result = qdsl.audit(path, causes=True)
    assert result.report.causes is None and result.report.tensors
    assert [each.code for each in result.diagnostics if each.severity.value == "error"] == ["artifact-refused"]
