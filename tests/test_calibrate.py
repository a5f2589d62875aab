"""Min-max calibration against plain numpy over every tensor, its identities, and what it does with NaN."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from data_cases import DATA_SPAN, block, data_spec, graph_of, picture, small_net
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto, helper

import qdsl.data
from qdsl.calibrate import Ranges, minmax
from qdsl.calibrate.extremes import Records
from qdsl.calibrate.means import channel_means
from qdsl.calibrate.session import require_loads
from qdsl.calibrate.shortcuts import shortcuts
from qdsl.diag import QdslError, Span
from qdsl.graph import from_proto, load

WANTED = [
    "images",
    "c1",
    "s1",
    "m1",
    "p",
    "q",
    "c2",
    "r2",
    "a",
    "cat",
    "pool",
    "c3",
    "flat_out",
    "tanh",
    "probabilities",
]


def rows(root: Path, values: np.ndarray[Any, Any], name: str = "images") -> qdsl.data.Dataset:
    np.savez(root / "calib.npz", **{name: values})
    return qdsl.data.open(data_spec("npz", root / "calib.npz"), (), {name: ("float32", (1, *values.shape[1:]))})


def noise(count: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(2).normal(size=(count, *shape)).astype(np.float32)


def every_value(proto: ModelProto, tensors: Sequence[str], samples: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Tensor -> all its values over all samples, from a session without any optimisation."""
    exposed = ModelProto()
    exposed.CopyFrom(proto)
    del exposed.graph.output[:]
    exposed.graph.output.extend(helper.make_empty_tensor_value_info(t) for t in tensors)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(exposed.SerializeToString(), options)
    runs = [session.run(None, {proto.graph.input[0].name: sample[None]}) for sample in samples]
    return {t: np.stack([run[i] for run in runs]) for i, t in enumerate(tensors)}


@pytest.mark.parametrize("opset", [13, 17, 18, 20])
def test_ranges_are_those_of_all_values(tmp_path: Path, opset: int) -> None:
    samples = noise(6, 3, 32, 32)
    proto = small_net(opset)
    found = minmax(from_proto(proto), WANTED, rows(tmp_path, samples), workers=2)
    assert found.samples == 6 and sorted(found.low) == sorted(WANTED)
    assert (found.low["images"], found.high["images"]) == (samples.min(), samples.max())
    for name, values in every_value(proto, WANTED[1:], samples).items():
        # The optimised graph adds products in another order: some units in the last place of a float32.
        np.testing.assert_allclose(found.low[name], values.min(), rtol=2e-6, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(found.high[name], values.max(), rtol=2e-6, atol=2e-6, err_msg=name)


def test_each_tensor_alone_gives_the_range_it_has_among_all(tmp_path: Path) -> None:
    dataset = rows(tmp_path, noise(3, 3, 32, 32))
    together = minmax(from_proto(small_net()), WANTED, dataset)
    for name in WANTED:
        alone = minmax(from_proto(small_net()), [name], dataset)
        np.testing.assert_allclose(alone.low[name], together.low[name], rtol=2e-6, atol=2e-6, err_msg=name)
        np.testing.assert_allclose(alone.high[name], together.high[name], rtol=2e-6, atol=2e-6, err_msg=name)


def test_the_same_bytes_for_any_workers_and_batch(tmp_path: Path) -> None:
    dataset = rows(tmp_path, noise(11, 3, 32, 32))
    texts = {
        minmax(from_proto(small_net()), WANTED, dataset, workers=workers, batch=batch).to_json()
        for workers, batch in [(1, None), (2, 1), (4, 3), (3, 64), (1, 5)]
    }
    assert len(texts) == 1


def test_order_of_samples_and_of_tensors_does_not_matter(tmp_path: Path) -> None:
    samples = noise(7, 3, 32, 32)
    forth = minmax(from_proto(small_net()), WANTED, rows(tmp_path, samples))
    back = minmax(from_proto(small_net()), WANTED[::-1], rows(tmp_path, samples[::-1]))
    assert (forth.low, forth.high) == (back.low, back.high)


def test_shards_merge_to_the_whole(tmp_path: Path) -> None:
    samples = noise(8, 3, 32, 32)
    whole = minmax(from_proto(small_net()), WANTED, rows(tmp_path, samples))
    first = minmax(from_proto(small_net()), WANTED, rows(tmp_path, samples[:3]))
    second = minmax(from_proto(small_net()), WANTED, rows(tmp_path, samples[3:]))
    for merged in (first.merge(second), second.merge(first)):
        assert (merged.low, merged.high, merged.samples) == (whole.low, whole.high, 8)


def test_settled_after_the_last_sample_that_widens_a_range(tmp_path: Path) -> None:
    model = graph_of([helper.make_node("Neg", ["images"], ["y"], name="n")], ["y"], shape=(1, 2))
    samples = np.float32([[0, 1], [0, 2], [1, 1], [0, 2.01], [-1, 0], [0, 0]])
    assert minmax(from_proto(model), ["y"], rows(tmp_path, samples)).settled_after == 5


def test_progress_counts_every_sample(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    minmax(
        from_proto(small_net()),
        ["m1"],
        rows(tmp_path, noise(5, 3, 32, 32)),
        workers=2,
        batch=2,
        progress=lambda done, total, rate: seen.append((done, total)) if rate > 0 else None,
    )
    assert seen == [(i, 5) for i in range(1, 6)]


def test_what_follows_from_others_is_not_measured_and_one_sum_finds_every_nan() -> None:
    ways = shortcuts(from_proto(small_net()).view(), WANTED)
    assert ways.parts["m1"] == ("p", "q") and ways.parts["cat"] == ("p", "q", "a")
    assert ways.mapped["s1"] == ("Sigmoid", "c1") and ways.parts["flat_out"] == ("c3",)
    # MaxPool may lose a NaN and the strided 1x1 Conv skips most pixels: both are looked after on their own.
    assert ways.summed == ("p", "a", "pool")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("workers", [1, 4])
def test_non_finite_names_the_first_tensor_and_sample(tmp_path: Path, value: float, workers: int) -> None:
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Div", ["c", "images"], ["d"], name="div"),
        helper.make_node("MaxPool", ["d"], ["y"], name="pool", kernel_shape=[2, 2]),
    ]
    weight = np.zeros((3, 3, 3, 3), np.float32) if np.isnan(value) else np.ones((3, 3, 3, 3), np.float32)
    samples = np.abs(noise(9, 3, 8, 8)) + 1
    samples[4, 1, 5, 2] = 0
    samples[7, 0, 0, 0] = 0
    model = from_proto(graph_of(nodes, ["y"], constants={"w": weight}))
    with pytest.raises(QdslError) as caught:
        minmax(model, ["c", "d", "y"], rows(tmp_path, samples), workers=workers)
    (found,) = caught.value.diagnostics
    kind = "NaN" if np.isnan(value) else "infinity"
    assert found.code == "calibration-non-finite"
    assert found.headline == f"tensor d holds {kind} for sample calib.npz[4]" and "Div div" in found.label
    assert found.span == DATA_SPAN


def test_what_is_asked_of_a_model_stands_at_its_line_and_what_samples_do_at_theirs(tmp_path: Path) -> None:
    line = Span("demo.q", 2, 1, 2, 24)
    nodes = [helper.make_node("Reshape", ["images", "to"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    net = graph_of(nodes, ["z"], shape=(1, 3, "H", "W"), constants={"to": np.array([1, 7, -1])})
    model, dataset = from_proto(net, span=line), rows(tmp_path, noise(2, 3, 8, 8))
    foreign = graph_of([helper.make_node("Nothing", ["images"], ["y"], domain="nobody")], ["y"])
    calls: list[tuple[str, Span, Callable[[], object]]] = [
        ("calibration-tensor", line, lambda: minmax(model, ["gone"], dataset)),
        ("calibration-run", DATA_SPAN, lambda: minmax(model, ["z"], dataset)),
        ("calibration-run", DATA_SPAN, lambda: channel_means(model, ["z"], dataset)),
        ("calibration-load", line, lambda: require_loads(from_proto(foreign, span=line))),
    ]
    for code, place, call in calls:
        with pytest.raises(QdslError) as caught:
            call()
        assert [(found.code, found.span) for found in caught.value.diagnostics] == [(code, place)]


# Every operator that the shortcuts trust to pass a NaN on, as (operator, attributes, constant operand).
PASSING: list[tuple[str, dict[str, Any], list[Any]]] = [
    *(
        (op, {}, [])
        for op in ("Exp", "GlobalAveragePool", "Identity", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Sqrt", "Tanh")
    ),
    ("Softmax", {"axis": 1}, []),
    ("Flatten", {}, []),
    ("Transpose", {"perm": [0, 2, 3, 1]}, []),
    ("DepthToSpace", {"blocksize": 2}, []),
    ("SpaceToDepth", {"blocksize": 2}, []),
    ("Reshape", {}, [np.array([1, -1])]),
    ("Unsqueeze", {}, [np.array([0])]),
    ("Squeeze", {}, [np.array([0])]),
    *((op, {}, [np.zeros((1, 4, 1, 1), np.float32)]) for op in ("Add", "Sub", "Mul", "Sum")),
    ("Div", {}, [np.ones((1, 4, 1, 1), np.float32)]),
    ("MatMul", {}, [np.zeros((12, 12), np.float32)]),
    ("Concat", {"axis": 1}, [np.zeros((1, 1, 12, 12), np.float32)]),
    ("BatchNormalization", {}, [np.ones(4, np.float32)] * 4),
    ("InstanceNormalization", {}, [np.ones(4, np.float32)] * 2),
    ("LayerNormalization", {}, [np.ones(12, np.float32)]),
    ("Conv", {"pads": [1] * 4}, [np.zeros((4, 4, 3, 3), np.float32)]),
    ("Conv", {"group": 4}, [np.zeros((4, 1, 1, 1), np.float32)]),
    ("Conv", {"strides": [2, 2], "kernel_shape": [3, 3], "pads": [1] * 4}, [np.ones((20, 4, 3, 3), np.float32)]),
    ("Split", {"axis": 1}, [np.array([2, 2])]),
]


@pytest.mark.parametrize(("op", "attributes", "operands"), PASSING, ids=[f"{i}-{p[0]}" for i, p in enumerate(PASSING)])
@pytest.mark.parametrize("after_conv", [False, True])
def test_trusted_operators_pass_a_nan_on(
    tmp_path: Path, op: str, attributes: dict[str, Any], operands: list[Any], after_conv: bool
) -> None:
    """ONNX Runtime itself, alone and where it fuses the operator into a Conv; the NaN is anywhere in the input."""
    constants = {f"k{i}": value for i, value in enumerate(operands)} | {
        "eye": np.eye(4, dtype=np.float32)[:, :, None, None]
    }
    outputs = ["y", "z"] if op == "Split" else ["y"]
    first = [helper.make_node("Conv", ["images", "eye"], ["t"], name="conv")] if after_conv else []
    node = helper.make_node(op, ["t" if first else "images", *list(constants)[:-1]], outputs, name="n", **attributes)
    model = from_proto(graph_of([*first, node], outputs, shape=(1, 4, 12, 12), constants=constants))
    wanted = "t" if after_conv else "images"
    ways = shortcuts(model.view(), [wanted])
    assert ways.summed == (), "the operator is trusted"
    session = ort.InferenceSession(_bytes(model))
    rng = np.random.default_rng(0)
    for _ in range(40):
        values = rng.normal(size=(1, 4, 12, 12)).astype(np.float32)
        values.ravel()[rng.integers(values.size)] = np.nan
        assert any(np.isnan(found).any() for found in session.run(None, {"images": values}))


def _bytes(model: Any) -> bytes:
    from qdsl.graph import to_bytes

    return to_bytes(model)


def test_gemm_passes_a_nan_on(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["images", "w"], ["t"], name="gemm"),
        helper.make_node("Relu", ["t"], ["y"], name="r"),
    ]
    samples = noise(2, 6)
    model = from_proto(graph_of(nodes, ["y"], shape=(1, 6), constants={"w": np.full((6, 3), np.inf, np.float32)}))
    with pytest.raises(QdslError, match="calibration-non-finite"):
        minmax(model, ["t"], rows(tmp_path, samples))


def test_half_precision_tensors_are_measured(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["images"], ["h"], name="down", to=10),
        helper.make_node("Neg", ["h"], ["n"], name="neg"),
        helper.make_node("Cast", ["n"], ["y"], name="up", to=1),
    ]
    samples = noise(3, 40)
    found = minmax(from_proto(graph_of(nodes, ["y"], shape=(1, 40))), ["n"], rows(tmp_path, samples))
    # ONNX Runtime's CPU provider computes in float32 between casts, so the half's rounding may or may not be seen.
    np.testing.assert_allclose(found.high["n"], -samples.min(), rtol=2**-11)


def test_weights_too_many_for_one_proto_go_through_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = rows(tmp_path, noise(3, 3, 32, 32))
    inline = minmax(from_proto(small_net()), WANTED, dataset)
    monkeypatch.setattr("qdsl.calibrate.session.LARGEST_INLINE", 100)
    monkeypatch.setattr("qdsl.graph.saving.LARGEST_INLINE", 100)
    monkeypatch.setattr("qdsl.graph.saving._SMALL_BYTES", 64)
    assert minmax(from_proto(small_net()), WANTED, dataset).to_json() == inline.to_json()


PAIRS = st.lists(st.tuples(*[st.floats(-8, 8, width=32)] * 2), min_size=1, max_size=30)


@given(PAIRS, st.randoms(use_true_random=False))
def test_records_are_the_same_in_any_order_and_any_parts(ends: list[tuple[float, float]], random: Any) -> None:
    ranges = [(min(pair), max(pair)) for pair in ends]
    whole = Records()
    for index, pair in enumerate(ranges):
        whole.add(index, *pair)
    parts = [Records() for _ in range(4)]
    for index, pair in random.sample(list(enumerate(ranges)), len(ranges)):
        parts[random.randrange(4)].add(index, *pair)
    merged = Records()
    for part in random.sample([part for part in parts if part.lows], len([part for part in parts if part.lows])):
        merged.merge(part)
    assert repr(merged) == repr(whole)
    assert (whole.low, whole.high) == (min(p[0] for p in ranges), max(p[1] for p in ranges))
    assert merged.settled(0.01) == settled_one_by_one(ranges)


def settled_one_by_one(ranges: list[tuple[float, float]]) -> int:
    settled, (low, high) = 1, ranges[0]
    for index, (below, above) in enumerate(ranges):
        width = high - low
        low, high = min(low, below), max(high, above)
        settled = index + 1 if high - low > width * 1.01 else settled
    return settled


@given(
    st.dictionaries(st.text(max_size=9), st.tuples(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 2))
)
def test_ranges_read_back_to_the_same_bits(pairs: dict[str, tuple[float, float]]) -> None:
    ranges = Ranges({n: min(p) for n, p in pairs.items()}, {n: max(p) for n, p in pairs.items()}, 3, 2)
    again = Ranges.from_json(ranges.to_json())
    assert again == ranges and again.to_json() == ranges.to_json()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is not JSON"),
        ("[]", "expected an object, found a list"),
        ("{}", "the key `samples` is missing"),
        ("[" * 5000, "nested too deeply"),
        ('{"samples":1,"settled_after":1,"tensors":{"a":[0]}}', "tensors.a: expected 3 values, found 1"),
        ('{"samples":1,"settled_after":1,"tensors":{"a":[0,"1"]}}', "tensors.a[1]: expected a number, found '1'"),
        ('{"samples":1,"settled_after":1,"tensors":{"a":[0,1e999]}}', "tensors.a[1]: expected a number, found inf"),
        ('{"samples":1,"settled_after":1,"tensors":{"a":[1,0]}}', "tensors.a: expected a range that does not fall"),
        ('{"samples":1,"settled_after":1,"tensors":{"a":[0,1,2]}}', "tensors.a[2]: expected a text, found 2"),
        ('{"samples":-1,"settled_after":1,"tensors":{}}', "samples: expected a whole number from 0, found -1"),
    ],
)
def test_other_texts_are_no_ranges(text: str, told: str) -> None:
    with pytest.raises(QdslError, match="calibration-ranges") as caught:
        Ranges.from_json(text)
    assert told in caught.value.diagnostics[0].label


@pytest.mark.slow
def test_a_real_detector(testdata: Path) -> None:
    model = load(testdata / "models/yolox_nano.onnx")
    view = model.view()
    wanted = [t.name for t in view.tensors.values() if t.kind != "constant" and t.dtype == "float32"]
    spec = data_spec("coco", testdata / "images/coco_ccby/annotations.json", take=(6, 1))
    takes = {name: (view.tensors[name].dtype or "", view.tensors[name].shape) for name in view.inputs}
    dataset = qdsl.data.open(spec, (block(("resize", 416, 416, "letterbox", "top_left"), ("color", "bgr")),), takes)
    texts = {minmax(model, wanted, dataset, workers=n).to_json() for n in (1, 2, 4)}
    assert len(texts) == 1
    ranges = Ranges.from_json(texts.pop())
    assert ranges.high[view.inputs[0]] == 255 and len(ranges.low) == len(wanted)


def test_pictures_reach_the_model(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "p/a.png", (8, 8))
    model = from_proto(graph_of([helper.make_node("Neg", ["images"], ["y"], name="n")], ["y"]))
    takes = {"images": ("float32", (1, 3, 8, 8))}
    found = minmax(model, ["y"], qdsl.data.open(data_spec("images", tmp_path / "p"), (), takes))
    assert (found.low["y"], found.high["y"]) == (-float(pixels.max()), 0.0 - float(pixels.min()))
