"""`quantize dynamic`: the plan and its words, what is refused and where, the pass's output, whole compilations."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest
from compile_tools import cli, project, residual_net, tree
from dynamic_tools import carried_out, dynamic_head, everything, planned
from plan_tools import decided, nodes, tensors, weights
from quantized import model_of, origins, run
from structure_graphs import Net

import qdsl
from qdsl.capability import TableError, loads
from qdsl.describe.explain import explain
from qdsl.describe.render import render
from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import load, to_proto
from qdsl.graph.view import GraphView
from qdsl.passes.pipeline import canonicalise
from qdsl.spec.plan_json import from_json, to_json

DATA = Path(__file__).resolve().parent / "data"
Golden = Callable[[str, str], None]
RECIPE = 'recipe demo\nmodel onnx "demo.onnx"\nquantize dynamic {{ {settings} }}\n{rules}target ort\n'


def mixed() -> GraphView:
    """Convs of 64 channels that share an input, a small and a depthwise one, a Concat, a product of two computed
    tensors, and a classifier."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 16, 16), 64, kernel=3, name="stem")
    x = net.op("Relu", x, name="relu")
    left, right = net.conv(x, 64, name="left"), net.conv(x, 64, kernel=3, name="right")
    deep = net.conv(left, 64, kernel=3, group=64, name="depthwise")
    y = net.op("Concat", deep, right, name="concat", axis=1)
    y = net.op("Flatten", net.op("GlobalAveragePool", y, name="average"), name="flatten")
    gram = net.op("MatMul", net.op("Transpose", y, name="turn"), y, name="gram")
    return net.view(net.op("Gemm", y, net.constant(128, 20), net.constant(20), name="gemm"), gram)


def text_of(rules: str = "", settings: str = "weights 8 bit; activations uint8") -> str:
    return render(decided(mixed(), rules, head=dynamic_head(settings), float_bytes=400_000).plan)


def refused(rules: str = "", settings: str = "weights 8 bit") -> list[Diagnostic]:
    with pytest.raises(QdslError) as caught:
        decided(mixed(), rules, head=dynamic_head(settings))
    return list(caught.value.diagnostics)


# --- the plan -------------------------------------------------------------------------------------------------------


def test_the_plan_reads_well(golden: Golden) -> None:
    rules = 'layers "left" { weights uint8 affine per_tensor }\nkeep "average" in float32\n'
    golden("plan/dynamic.txt", text_of(rules))


def test_one_plan_per_tensor_with_all_its_readers() -> None:
    plan = decided(mixed(), head=dynamic_head()).plan
    found = tensors(plan)
    assert {name: tuple(r.node for r in one.readers) for name, one in found.items()} == {
        "relu_out": ("left", "right"),
        "flatten_out": ("gemm",),
    }
    assert all(str(one.scheme) == "uint8 affine per_tensor" for one in found.values())
    assert all(one.calibration.method == "dynamic" and not one.observe for one in found.values())
    assert not plan.biases and not plan.open
    assert from_json(to_json(plan)) == plan


def test_a_width_takes_the_type_that_each_kernel_is_made_for() -> None:
    found = {name: str(one.scheme) for name, one in weights(decided(mixed(), head=dynamic_head()).plan).items()}
    assert found == {
        "left": "uint8 symmetric per_channel",
        "right": "uint8 symmetric per_channel",
        "gemm": "int8 symmetric per_channel",
    }


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("uint8", "uint8 symmetric per_channel"),
        ("uint8 per_tensor", "uint8 affine per_tensor"),
        ("uint8 affine", "uint8 affine per_tensor"),
        ("int8 per_tensor", "int8 symmetric per_tensor"),
        ("uint8 reduce_range", "uint8 symmetric per_channel reduce_range"),
        ("6 bit", "uint8 symmetric per_channel as 6 bit (emulated)"),
    ],
)
def test_what_a_request_leaves_open_is_filled_in(asked: str, stored: str) -> None:
    plan = decided(mixed(), head=dynamic_head(f"weights {asked}")).plan
    assert str(weights(plan)["left"].scheme) == stored


def test_small_and_depthwise_nodes_stay_float_unless_a_rule_asks_for_them() -> None:
    plain = nodes(decided(mixed(), head=dynamic_head()).plan)
    assert {name for name, node in plain.items() if node.mark == "!"} == {"stem", "depthwise", "gram"}
    assert "float is faster" in plain["depthwise"].note
    asked = nodes(decided(mixed(), "layers op Conv { weights 8 bit }\n", head=dynamic_head()).plan)
    assert asked["stem"].mark == asked["depthwise"].mark == "+"
    assert "its weight is computed" in asked["gram"].note


def test_rules_leave_nodes_in_float() -> None:
    rules = (
        'keep "left" in float32\nlayers "flatten" { activations float32 }\n'
        'place { leave "relu" -> "right" }\nlayers op Conv and not "left" { weights 8 bit }\n'
    )
    found = nodes(decided(mixed(), rules, head=dynamic_head()).plan)
    assert {name: (found[name].mark, found[name].note) for name in ("left", "right", "gemm")} == {
        "left": ("=", "float32"),
        "right": ("=", "its input is left in float32"),
        "gemm": ("=", "input float32"),
    }
    assert found["right"].origin.rule.startswith("leave")


def test_place_gives_back_what_it_left() -> None:
    rules = 'place { leave inputs of all; quantize inputs of "right" }\n'
    plan = decided(mixed(), rules, head=dynamic_head()).plan
    assert list(weights(plan)) == ["right"]
    assert tensors(plan)["relu_out"].placed.rule == 'quantize inputs of "right"'


def test_weights_in_float32_by_layer() -> None:
    plan = decided(mixed(), 'layers "left" { weights float32 }\n', head=dynamic_head()).plan
    assert nodes(plan)["left"].note == "float32 weights"
    assert "left" not in weights(plan)


def test_slow_weights_are_flagged_with_the_cure() -> None:
    (flag,) = decided(mixed(), head=dynamic_head("weights uint8")).plan.flags
    assert (flag.code, flag.nodes) == ("slow-weights", ("gemm",))
    assert flag.help[0] == "layers op [MatMul, Gemm] { weights int8 symmetric }"
    assert not decided(mixed(), head=dynamic_head()).plan.flags


def test_the_chain_of_a_node_and_of_a_tensor() -> None:
    decisions = decided(mixed(), 'layers "left" { weights uint8 }\n', head=dynamic_head())
    node = explain(decisions, "left").text
    assert "weights      8 bit" in node and "(overridden)" in node
    assert "in integers on ort: ConvInteger" in node
    tensor = explain(decisions, "relu_out").text
    assert "at run time, read by left, right" in tensor


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "settings", "code", "says"),
    [
        ("", "weights 8 bit; range [0, 6]", "dynamic-range", "`range` has nothing to decide"),
        ("layers op Conv { range [0, 6] }", "weights 8 bit", "dynamic-range", "`range` has nothing to decide"),
        ("layers op Conv { calibrate minmax }", "weights 8 bit", "dynamic-range", "`calibrate` has nothing to decide"),
        ("place { share scale across op Concat }", "weights 8 bit", "dynamic-range", "`share scale across`"),
        ("place { quantize inputs of op Concat }", "weights 8 bit", "setting-unused", "reaches no input that is"),
        ("place { leave outputs of op Concat }", "weights 8 bit", "setting-unused", "reaches no input"),
        ("", "weights 8 bit; activations int8", "target-cannot", "are uint8 affine per_tensor"),
        ("", "weights 8 bit; activations uint8 symmetric", "target-cannot", "are uint8 affine per_tensor"),
        ("", "weights 8 bit; activations uint8 reduce_range", "target-cannot", "are uint8 affine per_tensor"),
        ("layers op Conv { activations int16 }", "weights 8 bit", "target-cannot", "are uint8 affine per_tensor"),
        ("", "weights int4", "target-cannot", "does not compute with int4"),
        ("", "weights int8 storage_only", "target-cannot", "storage_only weights in a dynamic build"),
        ("", "weights 16 bit", "target-cannot", "does not compute with 16 bit"),
        ("", "weights float16", "target-cannot", "does not compute with float16"),
        ("", "weights uint8 affine per_channel", "target-cannot", "does not compute with uint8 affine per_channel"),
        ("", "weights int8 per_block 32", "target-cannot", "per_block 32"),
        ('layers "concat" { weights int8 }', "weights 8 bit", "setting-unused", "can be applied to nothing"),
    ],
)
def test_what_cannot_apply_is_an_error_at_its_line(rules: str, settings: str, code: str, says: str) -> None:
    found = [d for d in refused(f"{rules}\n", settings) if d.code == code]
    assert found and says in found[0].headline
    assert found[0].span is not None and found[0].help
    assert found[0].span.line == (6 if rules else 3)


def test_tuning_has_nothing_to_choose() -> None:
    (found,) = refused("tune latency { trials 3 }\n")
    assert (found.code, found.span.line if found.span else 0) == ("setting-unused", 6)


def test_a_target_may_have_another_mode(tmp_path: Path) -> None:
    static = "quantize static { weights int8; activations uint8; calibrate minmax on calib }\n"
    head = 'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "calib.npz"\n' + static
    made = project(tmp_path, head=head + everything() + "target ort { quantize dynamic { weights 8 bit } }\n")
    (target,) = qdsl.compile(made, out=tmp_path / "build").targets
    assert target.plan.mode == "dynamic" and target.verification.as_predicted
    assert all(weight.scheme.dtype.name != "int8" for weight in target.plan.weights if weight.node != "gemm")


def test_a_build_without_integers_is_refused() -> None:
    assert [d.code for d in refused("keep all in float32\n")] == ["nothing-to-quantize"]


@pytest.mark.slow
def test_a_model_of_small_layers_is_refused_with_the_way_round(tmp_path: Path) -> None:
    model = project(tmp_path).parent / "small.q"
    text = 'recipe small\nmodel onnx "demo.onnx"\nquantize dynamic { weights 8 bit }\n%starget ort\n'
    model.write_text(text % "")
    said = cli("plan", model).stderr
    assert "error[nothing-to-quantize]" in said and "channels per group float is faster (" in said
    (cure,) = re.findall(r"name them: `(.*)`", said)
    model.write_text(text % f"{cure}\n")
    assert " in integers (100 % of MACs)" in cli("plan", model).stdout


# --- the pass -------------------------------------------------------------------------------------------------------

CONV = "g (float[1,2,4,4] x) => (float[1,2,4,4] y) { [conv] c = Conv(x, w, b) [relu] y = Relu(c) }"
TWO = """g (float[2,3] x) => (float[2,4] y, float[2,4] z) {
  [product] p = MatMul(x, m) [vector] y = Add(p, v) [gemm] z = Gemm <transB = 1, alpha = 0.5> (x, n, v) }"""


def shown(text: str, rules: str, **constants: object) -> str:
    model = model_of(text, **constants)
    made = carried_out(model, planned(model, rules))
    rows = "\n".join(f"{name}: {origin}" for name, origin in origins(made.graph.node).items())
    before, after = (onnx.printer.to_text(proto.graph) for proto in (to_proto(model), made))
    return f"{before}\n\n---\n\n{after}\n\n---\n\n{rows}\n"


def test_a_convolution(golden: Golden) -> None:
    w = np.array([1.27, -0.5, 0.254, 0.1]).reshape(2, 2, 1, 1)
    golden("dynamic/conv.txt", shown(CONV, everything(), w=w, b=np.array([0.5, -0.25])))


def test_products_that_share_an_input(golden: Golden) -> None:
    m, n = np.arange(12).reshape(3, 4) / 8, np.arange(12).reshape(4, 3) / 16
    golden("dynamic/products.txt", shown(TWO, everything(), m=m, n=n, v=np.array([1.0, 2, 3, 4])))


def test_every_new_node_says_where_it_comes_from() -> None:
    model = model_of(TWO, m=(3, 4), n=(4, 3), v=(4,))
    before = {node.name for node in model.nodes()}
    made = carried_out(model, planned(model, everything()))
    told = origins(made.graph.node)
    assert {node.name for node in made.graph.node} == before | set(told)
    assert set(told) & before == {"product", "gemm"}
    assert all("line" in origin for origin in told.values())


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = model_of(CONV, w=np.full((2, 2, 1, 1), np.nan), b=(2,))
    with pytest.raises(QdslError, match="weight `w` holds nan"):
        carried_out(model, planned(model, everything()))
    assert [node.op for node in model.nodes()] == ["Conv", "Relu"]


def test_a_plan_of_another_model_is_refused() -> None:
    one, other = model_of(CONV, w=(2, 2, 1, 1), b=(2,)), model_of(TWO, m=(3, 4), n=(4, 3), v=(4,))
    with pytest.raises(ValueError, match="another model"):
        carried_out(other, planned(one, everything()))


# --- whole compilations ---------------------------------------------------------------------------------------------


def recipe(folder: Path, rules: str = "", settings: str = "weights 8 bit; activations uint8") -> Path:
    """The small network without data."""
    made = project(folder, head=RECIPE.format(settings=settings, rules=rules))
    (folder / "calib.npz").unlink()
    return made


def test_compile_needs_no_data_and_runs_as_predicted(tmp_path: Path) -> None:
    result = qdsl.compile(recipe(tmp_path, everything()), out=tmp_path / "build")
    (target,) = result.targets
    assert target.verification.as_predicted
    assert {layer.node for layer in target.verification.worst} <= {"stem", "inner", "left", "right", "gemm"}
    assert len(target.verification.worst) == 4 and all((layer.sqnr_db or 0) > 30 for layer in target.verification.worst)
    assert {k.kernel: (k.predicted, k.real) for k in target.verification.kernels} == {"Conv": (4, 4), "Gemm": (1, 1)}
    assert abs(target.plan.totals.predicted_bytes / target.emitted.size - 1) < 0.05
    assert dict(target.emitted.counts)["DynamicQuantizeLinear"] == 4
    (sample,) = np.random.default_rng(3).standard_normal((1, 1, 3, 8, 8)).astype(np.float32)
    want, got = (run(m, x=sample)[0] for m in (residual_net(), target.emitted.model))
    assert 10 * np.log10((want**2).sum() / ((want - got) ** 2).sum()) > 25


def test_the_lock_holds_no_ranges_and_gives_the_same_bytes(tmp_path: Path) -> None:
    made = recipe(tmp_path, everything())
    first = qdsl.compile(made, out=tmp_path / "one")
    assert first.lock is not None and "\nrange " not in first.lock.read_text()
    again = qdsl.compile(made, out=tmp_path / "two", locked=True)
    assert again.from_lock
    one, two = tree(tmp_path / "one" / "demo" / "ort"), tree(tmp_path / "two" / "demo" / "ort")
    assert one == two
    made.write_text(made.read_text().replace("weights 8 bit; act", "weights uint8; act"))
    with pytest.raises(QdslError, match="is stale"):
        qdsl.compile(made, out=tmp_path / "three")


@pytest.mark.slow
def test_the_bytes_do_not_depend_on_the_process(tmp_path: Path) -> None:
    trees = []
    for seed in ("0", "7"):
        made = recipe(tmp_path / seed, everything())
        found = cli("compile", made, "--out", tmp_path / f"build{seed}", env={"PYTHONHASHSEED": seed})
        assert found.returncode == 0, found.stderr
        trees.append(tree(tmp_path / f"build{seed}" / "demo" / "ort"))
    assert trees[0] == trees[1]


@pytest.mark.slow
def test_the_command_line_speaks_of_it(tmp_path: Path) -> None:
    made = recipe(tmp_path, everything("int8"))
    shown = cli("plan", made)
    assert shown.returncode == 0
    assert "in uint8 at run time" in shown.stdout and "flag[slow-weights]" in shown.stdout
    data = cli("plan", made, "--json")
    assert '"mode": "dynamic"' in data.stdout.replace('":"', '": "')


@pytest.mark.slow
def test_yolov8_tiny_is_predicted_to_the_byte_count(tmp_path: Path) -> None:
    model = load(DATA / "yolov8_tiny_torchscript.onnx")
    canonicalise(model)
    (tmp_path / "tiny").mkdir()
    onnx.save(to_proto(model), tmp_path / "tiny" / "demo.onnx")
    rules = "keep decode_head in float32\nlayers op Conv and not decode_head { weights 8 bit }\n"
    (tmp_path / "tiny" / "demo.q").write_text(RECIPE.format(settings="weights 8 bit", rules=rules))
    (target,) = qdsl.compile(tmp_path / "tiny" / "demo.q", out=tmp_path / "build").targets
    assert target.verification.as_predicted
    assert abs(target.plan.totals.predicted_bytes / target.emitted.size - 1) < 0.02


# --- the table ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('weight = "uint8"', 'weight = "int4"', "dynamic[conv]: `weight` is none of `weight_types`"),
        ('weight = "uint8"', 'weight = "int9"', "dynamic[conv].weight: expected one of int2, "),
        ('slow = ["int8"]', "slow = []", "`slow` and `slow_because` go together"),
        ('fused = "MatMulIntegerToFloat"', "", "`fused` and `unshared` go together"),
        ("least_channels = 48", "", "`least_channels` needs `small_because`"),
        ("most_products = 65536", "", "dynamic[conv]: the key `most_products` is missing"),
    ],
)
def test_a_broken_rule_is_refused_by_name_and_key(old: str, new: str, says: str) -> None:
    text = (resources.files("qdsl.capability") / "ort_cpu.toml").read_text(encoding="utf-8")
    head, mark, rules = text.partition("[[dynamic]]")
    with pytest.raises(TableError, match=re.escape(says)):
        loads(head + mark + rules.replace(old, new, 1), "ort_cpu")
