"""Ranges stop where what reads a tensor is flat: activation functions that saturate, and masks before a Softmax."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import cli
from onnx import helper, numpy_helper

import qdsl
from qdsl.api.compiling import CompileResult
from qdsl.capability import load
from qdsl.diag import QdslError
from qdsl.ranges.cut_ranges import _of

LOWEST = np.finfo(np.float32).min
KEYS, SIZE = 12, 32
Array = np.ndarray[Any, np.dtype[Any]]
RECIPE = """recipe cut
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static {{
  weights int8 symmetric per_channel reduce_range
  activations uint8 affine per_tensor
  calibrate {method} on calib
}}
{rest}
target ort
"""
node = helper.make_node


def write(
    folder: Path,
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any],
    inputs: dict[str, Array],
    *,
    rest: str = "",
    method: str = "minmax",
    opset: int = 17,
    free: bool = False,
) -> Path:
    """A model of float32 whose last node writes y, what calibrates it (one row of each of `inputs` a sample), a
    recipe. `free`: dims of the size KEYS have a name instead."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {name: helper.np_dtype_to_tensor_dtype(values.dtype) for name, values in inputs.items()}
    shapes: dict[str, list[Any]] = {name: list(values.shape[1:]) for name, values in inputs.items()}
    if free:
        shapes = {name: ["time" if dim == KEYS else dim for dim in shape] for name, shape in shapes.items()}
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kinds[name], shapes[name]) for name in inputs],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in constants.items()],
    )
    domains = {"": opset} | {each.domain: 1 for each in nodes if each.domain}
    imports = [helper.make_opsetid(*pair) for pair in domains.items()]
    model = helper.make_model(made, opset_imports=imports, ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), folder / "model.onnx")
    np.savez(folder / "calib.npz", **inputs)
    recipe = folder / "cut.q"
    recipe.write_text(RECIPE.format(rest=rest, method=method), encoding="utf-8")
    return recipe


def compiled(recipe: Path, **words: bool) -> CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", workers=1, measure=False, **({"lock": False} | words))


def ranges(recipe: Path) -> dict[str, tuple[float, float, str]]:
    found = json.loads((recipe.parent / "build/cut/ranges.json").read_text())["tensors"]
    return {name: tuple(told) for name, told in found.items()}


def fidelity(recipe: Path, fresh: dict[str, Array]) -> float:
    """In dB, over samples that calibrated nothing."""
    models = (recipe.parent / "model.onnx", recipe.parent / "build/cut/ort/model.onnx")
    runs = [ort.InferenceSession(str(m), providers=["CPUExecutionProvider"]) for m in models]
    count = len(next(iter(fresh.values())))
    feeds = [{name: values[i] for name, values in fresh.items()} for i in range(count)]
    exact, got = (np.stack([run.run(None, feed)[0] for feed in feeds]).astype(np.float64) for run in runs)
    return float(10 * np.log10(np.sum(exact**2) / np.sum((exact - got) ** 2)))


# From scores s [1, keys, keys] and what is masked (int64 am, 1 to be seen, or bool see), m.
_SHOWN = [node("Cast", ["am"], ["af"], to=1), node("Sub", ["one", "af"], ["inv"], "inv")]
_SEE = [node("Cast", ["am"], ["see"], to=9)]


def times(value: float) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    parts = [*_SHOWN, node("Mul", ["inv", "low"], ["mk"], "scale"), node("Add", ["s", "mk"], ["m"], "mask")]
    return parts, {"one": np.float32(1), "low": np.float32(value)}


def chosen(value: float) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    return [*_SEE, node("Where", ["see", "s", "low"], ["m"], "mask")], {"low": np.float32(value)}


def table(value: float) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    causal = np.triu(np.full((KEYS, KEYS), value, np.float32), 1)[None]
    return [*_SEE, node("Add", ["s", "mask"], ["m"], "mask")], {"mask": causal}


def made() -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A Where makes the mask, which is added twice and bounded from below, as some exporters do."""
    parts = [*_SEE, node("Where", ["see", "zero", "low"], ["mk"], "mask"), node("Add", ["s", "mk"], ["a"], "add1")]
    parts += [node("Add", ["a", "mk"], ["b"], "add2"), node("Max", ["b", "low"], ["m"], "floor")]
    return parts, {"zero": np.float32(0), "low": np.float32(LOWEST)}


def taken() -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    parts = [*_SHOWN, node("Mul", ["inv", "much"], ["mk"], "scale"), node("Sub", ["s", "mk"], ["m"], "mask")]
    return parts, {"one": np.float32(1), "much": np.float32(1e9)}


def moved() -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    parts = [*_SEE, node("Where", ["see", "s", "low"], ["n"], "mask"), node("Reshape", ["n", "rows"], ["m"], "rows")]
    return parts, {"low": np.float32(-np.inf), "rows": np.array([1, KEYS, KEYS])}


def shifted() -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """The stable form: the largest value of a row is taken away first."""
    parts = [*_SEE, node("Where", ["see", "s", "low"], ["n"], "mask")]
    parts += [node("ReduceMax", ["n"], ["top"], "top", axes=[-1]), node("Sub", ["n", "top"], ["m"], "shift")]
    return parts, {"low": np.float32(-1e9)}


MASKS = {
    "times the lowest float": times(LOWEST),
    "times -1e9": times(-1e9),
    "times -1e4": times(-1e4),
    "Where -inf": chosen(-np.inf),
    "Where the lowest float": chosen(LOWEST),
    "Where -1e4": chosen(-1e4),
    "a table of the lowest float": table(LOWEST),
    "a table of -inf": table(-np.inf),
    "a table of -1e4": table(-1e4),
    "added twice": made(),
    "taken away": taken(),
    "before a Reshape": moved(),
    "before a shift": shifted(),
}


def attention(
    folder: Path, mask: tuple[list[onnx.NodeProto], dict[str, Any]] | None, **words: Any
) -> tuple[Path, dict[str, Array]]:
    """A recipe for attention over 12 keys, and fresh samples."""
    draw = np.random.default_rng(0)

    def normal(*shape: int) -> Array:
        return draw.standard_normal(shape).astype(np.float32)

    parts, constants = mask or (_SEE, {})
    scores = "m" if mask else "s"
    nodes = [
        node("MatMul", ["x", "wq"], ["q"], "q"),
        node("MatMul", ["x", "wk"], ["k"], "k"),
        node("Transpose", ["k"], ["kt"], "kt", perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"], "scores"),
        *parts,
        node("Softmax", [scores], ["p"], "softmax", axis=-1),
        node("MatMul", ["x", "wv"], ["v"], "v"),
        node("MatMul", ["p", "v"], ["y"], "out"),
    ]
    constants = constants | {"wq": normal(SIZE, SIZE) * np.float32(0.08), "wk": normal(SIZE, SIZE) * np.float32(0.18)}
    constants["wv"] = normal(SIZE, SIZE) * np.float32(0.18)

    def samples(count: int) -> dict[str, Array]:
        shown = np.ones((count, 1, 1, KEYS), np.int64)
        for i in range(count):
            shown[i, ..., draw.integers(6, KEYS) :] = 0
        return {"x": normal(count, 1, KEYS, SIZE), "am": shown}

    return write(folder, nodes, constants, samples(24), **words), samples(6)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How well attention without a mask fares."""
    recipe, fresh = attention(tmp_path_factory.mktemp("bare"), None)
    compiled(recipe)
    return fidelity(recipe, fresh)


@pytest.mark.parametrize("mask", sorted(MASKS))
def test_a_mask_costs_next_to_nothing(mask: str, bare: float, tmp_path: Path) -> None:
    recipe, fresh = attention(tmp_path, MASKS[mask])
    result = compiled(recipe)
    (target,) = result.targets
    assert target.verification.mismatches == ()
    assert fidelity(recipe, fresh) > bare - 3
    # a factor of 0 or 1 has 256 levels, each of which has to reach the masked places
    assert all(low > -9999 for low, _, _ in ranges(recipe).values())
    # what is compared inside the graph does not drown in the masked places either
    assert all(found.sqnr_db is None or found.sqnr_db > 15 for found in target.verification.worst)


@pytest.mark.parametrize("method", ["percentile 99.9", "entropy", "mse", "mean_minmax"])
def test_every_method_reads_scores_without_their_mask(method: str, bare: float, tmp_path: Path) -> None:
    recipe, fresh = attention(tmp_path, MASKS["Where -inf"], method=method)
    compiled(recipe)
    assert fidelity(recipe, fresh) > bare - 6


@pytest.mark.parametrize("opset", [13, 18])
def test_scores_of_a_size_not_known_are_cut(opset: int, bare: float, tmp_path: Path) -> None:
    recipe, fresh = attention(tmp_path, MASKS["Where the lowest float"], opset=opset, free=opset == 18)
    compiled(recipe)
    assert fidelity(recipe, fresh) > bare - 3


def test_a_row_that_is_masked_as_a_whole_does_not_count(tmp_path: Path) -> None:
    recipe, _ = attention(tmp_path, MASKS["times the lowest float"])
    held = dict(np.load(tmp_path / "calib.npz"))
    held["am"][0] = 0
    np.savez(tmp_path / "calib.npz", **held)
    compiled(recipe)
    assert -30 < ranges(recipe)["m"][0] < 0


def test_the_lock_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe, _ = attention(tmp_path, MASKS["times the lowest float"])
    made = tmp_path / "build/cut"
    compiled(recipe, lock=True)
    first = [(made / name).read_bytes() for name in ("ort/model.onnx", "ranges.json", "plan.json")]
    told = [d for d in compiled(recipe, lock=True).diagnostics if d.code == "range-cut"]
    assert [(made / name).read_bytes() for name in ("ort/model.onnx", "ranges.json", "plan.json")] == first
    (tmp_path / "calib.npz").unlink()
    again = compiled(recipe, lock=True, locked=True)
    assert (made / "ort/model.onnx").read_bytes() == first[0]
    assert [d for d in again.diagnostics if d.code == "range-cut"] == told != []


@pytest.mark.slow
def test_shards_see_the_same(tmp_path: Path) -> None:
    recipe, _ = attention(tmp_path, MASKS["Where -inf"])
    whole = compiled(recipe).ranges
    split = qdsl.compile(recipe, out=tmp_path / "split", lock=False, measure=False, shards=2)
    assert (split.ranges.low, split.ranges.high) == (whole.low, whole.high)


def test_a_range_by_hand_holds_and_fits(bare: float, tmp_path: Path) -> None:
    line = 'layers tensor "m" { range [-40, 20] }'
    recipe, fresh = attention(tmp_path, MASKS["a table of the lowest float"], rest=line)
    result = compiled(recipe)
    assert not [d for d in result.diagnostics if d.code == "range-by-hand"]
    assert fidelity(recipe, fresh) > bare - 3
    compared = {found.tensor: found.sqnr_db for found in result.targets[0].verification.layers}
    assert (compared["m"] or 0) > 15, "what the mask leaves below the range is no loss"
    line = 'layers tensor "m" { range [-1, 1] }'
    narrow, _ = attention(tmp_path / "narrow", MASKS["a table of the lowest float"], rest=line)
    assert [d for d in compiled(narrow).diagnostics if d.code == "range-by-hand"]


def test_infinity_elsewhere_is_refused_with_its_tensor_and_sample(tmp_path: Path) -> None:
    nodes = [*_SEE, node("Where", ["see", "x", "low"], ["m"], "mask"), node("MatMul", ["m", "w"], ["y"], "mm")]
    inputs = {"x": np.ones((4, 2, 4), np.float32), "am": np.ones((4, 1, 4), np.int64)}
    inputs["am"][2, 0, 1] = 0
    recipe = write(tmp_path, nodes, {"low": np.float32(-np.inf), "w": np.eye(4, dtype=np.float32)}, inputs)
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    (told,) = caught.value.diagnostics
    assert told.code == "calibration-non-finite"
    assert told.headline == "tensor m holds infinity for sample calib.npz[2]"


def test_nan_in_scores_is_refused(tmp_path: Path) -> None:
    recipe, _ = attention(tmp_path, MASKS["Where -inf"])
    held = dict(np.load(tmp_path / "calib.npz"))
    held["am"][3] = 0  # nothing to be seen: a Softmax over -inf alone
    np.savez(tmp_path / "calib.npz", **held)
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    assert caught.value.diagnostics[0].headline == "tensor p holds NaN for sample calib.npz[3]"


FLAT: dict[str, tuple[list[onnx.NodeProto], float, float]] = {
    "Sigmoid": ([node("Sigmoid", ["c"], ["f"])], -8, 8),
    "Tanh": ([node("Tanh", ["c"], ["f"])], -4, 4),
    "Erf": ([node("Erf", ["c"], ["f"])], -3, 3),
    "HardSigmoid": ([node("HardSigmoid", ["c"], ["f"], alpha=0.25)], -2, 2),
    "HardSwish": ([node("HardSwish", ["c"], ["f"])], -3, np.inf),
    "SiLU": ([node("Sigmoid", ["c"], ["g"]), node("Mul", ["c", "g"], ["f"])], -8, np.inf),
    "hard swish in two": ([node("HardSigmoid", ["c"], ["g"], alpha=1 / 6), node("Mul", ["g", "c"], ["f"])], -3, np.inf),
    "hard swish in four": (
        [
            node("Add", ["c", "three"], ["a"]),
            node("Clip", ["a", "zero", "six"], ["b"]),
            node("Mul", ["c", "b"], ["d"]),
            node("Div", ["d", "six"], ["f"]),
        ],
        -3,
        np.inf,
    ),
    "Mish": (
        [node("Softplus", ["c"], ["a"]), node("Tanh", ["a"], ["b"]), node("Mul", ["c", "b"], ["f"])],
        -8,
        np.inf,
    ),
    "behind a pool": ([node("MaxPool", ["c"], ["a"], kernel_shape=[2, 2]), node("Sigmoid", ["a"], ["f"])], -8, 8),
    "two of them": (
        [node("Sigmoid", ["c"], ["a"]), node("Tanh", ["c"], ["b"]), node("Add", ["a", "b"], ["f"])],
        -8,
        8,
    ),
    "beside a sum": (
        [node("Sigmoid", ["c"], ["a"]), node("Add", ["c", "a"], ["f"])],
        -np.inf,
        np.inf,
    ),
    "LeakyRelu": ([node("LeakyRelu", ["c"], ["f"])], -np.inf, np.inf),
}


def convs(folder: Path, kind: str, **words: Any) -> Path:
    """Conv, an activation, Conv; values of the first reach from about -60 to 60."""
    draw = np.random.default_rng(3)
    nodes = [node("Conv", ["x", "w"], ["c"], "first"), *FLAT[kind][0], node("Conv", ["f", "v"], ["y"], "last")]
    weights = {name: draw.standard_normal((4, 4, 1, 1)).astype(np.float32) for name in "wv"}
    weights["w"] *= 8
    scalars = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
    return write(
        folder, nodes, weights | scalars, {"x": draw.standard_normal((8, 1, 4, 6, 6)).astype(np.float32)}, **words
    )


@pytest.mark.parametrize("kind", sorted(FLAT))
def test_a_range_stops_where_its_readers_are_flat(kind: str, tmp_path: Path) -> None:
    recipe = convs(tmp_path, kind)
    result = compiled(recipe)
    low, high, how = ranges(recipe)["c"]
    _, least, most = FLAT[kind]
    whole = convs(tmp_path / "whole", "LeakyRelu")
    compiled(whole)
    every = ranges(whole)["c"]
    assert every[0] < -20 and every[1] > 20
    assert (low, high) == pytest.approx((max(least, every[0]), min(most, every[1])))
    assert ("cut to" in how) is bool([d for d in result.diagnostics if d.code == "range-cut"])
    assert ("cut to" in how) is ((low, high) != every[:2])
    (target,) = result.targets
    assert target.verification.mismatches == ()


def test_flat_means_flat() -> None:
    """No operator of the table answers what a stored value could tell, beyond its bounds."""
    for flat in load().flats:
        for op in (op for op in flat.ops if flat.kind == "far" and op not in ("Gelu", "Mish")):
            x = np.linspace(-60, 60, 12001).astype(np.float32)
            cut = np.clip(x, flat.low, flat.high)
            made = helper.make_graph(
                [node(op, ["x"], ["y"])],
                "g",
                [helper.make_tensor_value_info("x", 1, [12001])],
                [helper.make_tensor_value_info("y", 1, [12001])],
            )
            model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
            run = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
            exact, got = run.run(None, {"x": x})[0], run.run(None, {"x": cut})[0]
            assert np.abs(exact - got).max() < 0.1 * 2 / 256, op
            if flat.gated:
                assert np.abs(x * exact - np.maximum(x, flat.low) * got)[x < 0].max() < 0.003


def test_a_range_by_hand_is_never_cut(tmp_path: Path) -> None:
    recipe = convs(tmp_path, "SiLU", rest='layers tensor "c" { range [-50, 50] }')
    compiled(recipe)
    assert "c" not in ranges(recipe)
    plan = json.loads((tmp_path / "build/cut/plan.json").read_text())["ort"]
    assert plan["cuts"] == []


def test_a_graph_output_is_never_cut(tmp_path: Path) -> None:
    recipe = convs(tmp_path, "Sigmoid")
    model = onnx.load(tmp_path / "model.onnx")
    model.graph.output.append(helper.make_tensor_value_info("c", 1, [1, 4, 6, 6]))
    onnx.save(model, tmp_path / "model.onnx")
    compiled(recipe)
    assert ranges(recipe)["c"][0] < -20


def test_what_shares_a_scale_keeps_what_the_others_need(tmp_path: Path) -> None:
    rest = 'place { share scale across tensor ["c", "y"] }'
    recipe = convs(tmp_path, "Sigmoid", rest=rest)
    result = compiled(recipe)
    (target,) = result.targets
    model = onnx.load(target.emitted.model)
    scales = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer if i.name.endswith("scale")}
    low, high, _ = ranges(recipe)["y"]
    step = (max(high, 8.0) - min(low, -8.0)) / 255
    assert any(np.isclose(float(scale), step) for scale in scales.values() if scale.ndim == 0)


@pytest.mark.slow
def test_plan_and_explain_say_it(tmp_path: Path) -> None:
    recipe = convs(tmp_path, "SiLU")
    said = cli("plan", recipe).stdout
    assert "open: ranges of 1 tensor: may be cut where nothing more is read (sigmoid)" in said
    said = cli("explain", recipe, "c").stdout
    assert "cut          nothing is read below -8" in said and "ort_cpu.toml, row sigmoid" in said


def test_too_few_levels_are_told_with_a_cure_that_works(tmp_path: Path) -> None:
    recipe = convs(tmp_path, "SiLU")
    assert not [d for d in compiled(recipe).diagnostics if d.code == "few-levels"]
    model = onnx.load(tmp_path / "model.onnx")
    (first,) = (i for i in model.graph.initializer if i.name == "w")
    weights = numpy_helper.to_array(first).copy()
    weights[0] *= 20
    first.CopyFrom(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "model.onnx")
    (told,) = (d for d in compiled(recipe).diagnostics if d.code == "few-levels")
    assert told.headline.startswith("Sigmoid ") and "of 256 levels of c" in told.label
    recipe.write_text(recipe.read_text() + told.help[0] + "\n")
    assert not [d for d in compiled(recipe).diagnostics if d.code == "few-levels"]


@pytest.mark.parametrize(
    ("cut", "able", "told"),
    [
        (1, 1, "the range that may be cut was"),
        (1, 5, "1 of the 5 ranges that may be cut was"),
        (56, 63, "56 of the 63 ranges that may be cut were"),
    ],
)
def test_ranges_that_were_cut_are_counted_among_those_that_may_be(cut: int, able: int, told: str) -> None:
    assert _of(cut, able) == told


@pytest.mark.slow
def test_compile_counts_what_plan_counts(tmp_path: Path) -> None:
    recipe, _ = attention(tmp_path, MASKS["times the lowest float"])
    (count,) = re.findall(r"open: ranges of (\d+) tensors?: may be cut", cli("plan", recipe).stdout)
    (found,) = (d for d in compiled(recipe).diagnostics if d.code == "range-cut")
    assert found.headline.endswith(" cut where nothing more is read")
    assert (int(count) == 1 and "the range that" in found.headline) or f" of the {count} ranges that" in found.headline
