"""What became of the quantization in an engine, by what its inspector tells: `verify_engine.py`, which goes beside an
emitted model."""

from __future__ import annotations

import ast
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine_dumps import (
    FP16,
    MOBILENET,
    QAT,
    REAL,
    RESIDUAL,
    Plain,
    asked,
    dump10,
    dump11,
    examined,
    in_floats,
    layer10,
    layer11,
    plan,
    planned_of,
    read,
    real,
    verdicts,
    without,
)

from qdsl.targets.tensorrt.scripts import verify_engine
from qdsl.targets.tensorrt.scripts.verify_engine import Manifest, WrongInputError, read_layers, read_profile

SCRIPT = Path(verify_engine.__file__)
I8 = "sm86_xmma_gemm_i8i8_i8i32_f32_tn_n_tilesize128x128x64"


# ---- real engines ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "types", "standalone", "converting"),
    [
        (QAT, {"int8 int8": 8, "int8 fp16": 11, "int8 fp32": 2}, 10, 1),
        (RESIDUAL, {"int8 int8": 19, "int8 fp32": 2}, 3, 0),
        (MOBILENET, {"int8 int8": 36, "int8 fp16": 13, "int8 fp32": 4}, 17, 0),
        (FP16, {"fp16": 21}, 0, 2),
    ],
)
def test_real_engines(name: str, types: dict[str, int], standalone: int, converting: int) -> None:
    plain = real(name)
    found = examined(plain, planned_of(plain))
    words = Counter(_words(each.verdict, each.because) for each in found.verdicts)
    assert words == types
    assert (len(found.standalone), len(found.reformats)) == (standalone, converting)
    assert found.passes == (name != FP16)


def _words(verdict: str, because: str) -> str:
    """What it multiplies and writes, of the verdict and its reason, which have to agree."""
    reads, _, writes = because.removeprefix("multiplies ").partition(", writes ")
    assert verdict == ("DROPPED" if reads != "int8" else "INT8_IN_FLOAT_OUT" if writes else "INT8")
    return f"{reads} {writes or 'int8'}" if reads == "int8" else reads


def test_q_of_the_boundary_are_not_counted_among_those_that_stand_alone() -> None:
    found = examined(real(QAT), planned_of(real(QAT), ("QuantizeLinear_2",)))
    assert len(found.standalone) == 9 and found.boundary == ("QuantizeLinear_2",)


@pytest.mark.slow
@pytest.mark.parametrize("name", [QAT, RESIDUAL, MOBILENET])
def test_a_layer_in_floats_is_one_dropped_node(name: str) -> None:
    plain = real(name)
    manifest = planned_of(plain)
    before = verdicts(plain, manifest)
    for node in before:
        assert verdicts(in_floats(plain, node), manifest) == {**before, node: "DROPPED"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [QAT, RESIDUAL, MOBILENET])
def test_a_layer_that_is_missing_is_one_unknown_node(name: str) -> None:
    plain = real(name)
    manifest = planned_of(plain)
    before = verdicts(plain, manifest)
    for node in before:
        found = examined(without(plain, node), manifest)
        assert {each.node: each.verdict for each in found.verdicts} == {**before, node: "UNKNOWN"}
        assert not found.passes


def test_shares_are_of_the_measured_time_and_one_run_ranks_nothing() -> None:
    plain = real(QAT)
    times = read_profile((REAL / f"{QAT}.profile.json").read_text())
    found = examined(plain, planned_of(plain), times)
    assert {name for name, _ in times.layers} == {layer["Name"] for layer in plain["Layers"]}
    assert found.verdicts[0].share == pytest.approx(0.184112, rel=1e-4)
    rows = json.loads((REAL / f"{QAT}.profile.json").read_text())[1:]
    aside = [row["percentage"] for row in rows if row["name"] in (*found.standalone, *found.reformats)]
    assert len(aside) == 11 and found.aside == pytest.approx(sum(aside) / 100, rel=1e-4)
    assert "the profile is of 1 run" in found.notes[0]


# ---- synthetic engines: the forms of 10.x and 11.x -------------------------------------------------------------------


def test_what_the_metadata_names_is_judged_by_the_layer_that_multiplies() -> None:
    """A node stands in a kernel with its bias too; Q and DQ that are named say nothing."""
    plain = dump10(
        layer10("q", "kgen", {"in": "Float"}, {"x": "Int8"}, "q_in"),
        layer10("one_myl0_2", "gemm", {"x": "Int8"}, {"y": "Int8"}, "/one dq q", TacticName=I8),
        layer10(
            "two_myl0_4",
            "gemm",
            {"y": "Float"},
            {"z": "Float"},
            "/two dq2 q2",
            TacticName=I8.replace("i8i8_i8", "f32f32_tf32f32_f32"),
        ),
        layer10("bias", "kgen", {"z": "Float"}, {"out": "Float"}, "/two"),
    )
    found = examined(plain, plan(asked("/one", "Gemm"), asked("/two", "Gemm", pairs=("q2", "dq2")), boundary=("q_in",)))
    assert [(each.verdict, each.layer) for each in found.verdicts] == [
        ("INT8", "one_myl0_2"),
        ("DROPPED", "two_myl0_4"),
    ]
    assert found.form == "10.x form" and found.boundary == ("q",) and not found.standalone


@pytest.mark.parametrize(
    ("expect", "kind", "reads", "constants", "writes", "tactic", "verdict"),
    [
        ("int8", "correlation", "Int8", ["Int8", "Float"], "Float", "__myelin_CASK_STUB", "INT8"),
        ("int8", "correlation", "Float", ["Float"], "Float", "__myelin_CASK_STUB", "DROPPED"),
        ("int8", "correlation", "Int8", ["Int8"], "Half", "sm89_xmma_fprop_i8f16_i8i32_f32_nhwc", "INT8_IN_FLOAT_OUT"),
        ("int8", "correlation", "Int8", ["Int8"], "Half", "sm89_xmma_fprop_f16f16_f16f16_f16_nhwc", "UNKNOWN"),
        ("int8", "runtime_fusion", "Half", ["Int4"], "Half", "", "WEIGHT_ONLY"),
        ("weights", "runtime_fusion", "Half", ["Int4"], "Half", "", "WEIGHT_ONLY"),
        ("int8", "runtime_fusion", "Int8", ["Int8"], "Half", "", "UNKNOWN"),
        ("fp8", "gemm", "FP8", ["FP8", "Float"], "Half", "", "FP8"),
        ("int8", "kgen", "Float", ["Float"], "Float", "__myl_Mul", "DROPPED"),
        ("int8", "kgen", "Int8", ["Float"], "Float", "__myl_Mul", "UNKNOWN"),
        ("int8", "gemm", "Int8", None, "Int8", "", "UNKNOWN"),
    ],
)  # fmt: skip
def test_types_of_11(
    expect: str, kind: str, reads: str, constants: list[str] | None, writes: str, tactic: str, verdict: str
) -> None:
    layer = layer11("l", kind, {"in": reads}, {"out": writes}, "n dq q", constants=constants, TacticName=tactic)
    found = examined(dump11(layer), plan(asked("n", expect=expect)))
    assert [each.verdict for each in found.verdicts] == [verdict] and found.form == "11.x form"
    assert found.passes == (verdict in {"int8": ("INT8", "INT8_IN_FLOAT_OUT")}.get(expect, (verdict,)))


def test_types_of_dynamic_shapes_are_told_by_the_kernel_or_not_at_all() -> None:
    na = "N/A due to dynamic shapes"
    told = layer10("a", "CaskConvolution", {"in": na}, {"x": na}, "a", TacticName=I8, Weights={"Type": "Int8"})
    untold = layer10("b", "CaskConvolution", {"x": na}, {"out": na}, "b", TacticName="0x123", Weights={"Type": "Int8"})
    one, two = examined(dump10(told, untold), plan(asked("a"), asked("b"))).verdicts
    assert (one.verdict, one.because) == ("INT8", "multiplies int8, by the kernel's name alone")
    assert two.verdict == "UNKNOWN" and "dynamic shapes" in two.because and "--shapes" in two.because


def test_what_a_node_without_weights_reads_and_writes_is_its_verdict() -> None:
    plain = dump10(
        layer10("add", "PointWiseV2", {"in": "Int8", "in2": "Int8"}, {"x": "Int8"}, "add"),
        layer10("pool", "CaskPooling", {"x": "Half"}, {"y": "Half"}, "pool"),
        layer10(
            "conv",
            "CaskConvolution",
            {"y": "Int8", "x": "Half"},
            {"out": "Half"},
            "conv skip",
            Weights={"Type": "Int8"},
        ),
    )
    plain["Bindings"].append("in2")
    nodes = [
        asked("add", "Add"),
        asked("pool", "MaxPool"),
        asked("conv"),
        asked("skip", "Add"),
        asked("concat", "Concat"),
    ]
    found = examined(plain, plan(*nodes))
    assert [each.verdict for each in found.verdicts] == [
        "INT8",
        "DROPPED",
        "INT8_IN_FLOAT_OUT",
        "DROPPED",
        "ELIMINATED",
    ]
    assert [each.passes for each in found.verdicts] == [True, False, True, False, True]


def test_a_node_with_weights_in_no_layer_of_a_whole_engine_does_not_pass() -> None:
    plain = dump10(layer10("a", "CaskConvolution", {"in": "Int8"}, {"out": "Int8"}, "a", Weights={"Type": "Int8"}))
    found = examined(plain, plan(asked("a"), asked("folded")))
    assert [each.verdict for each in found.verdicts] == ["INT8", "ELIMINATED"] and not found.passes


def test_an_engine_with_several_profiles_is_as_good_as_its_worst() -> None:
    weights = {"Weights": {"Type": "Int8"}}
    plain = dump10(
        layer10("a", "CaskConvolution", {"in": "Int8"}, {"out": "Int8"}, "a", **weights),
        layer10("a [profile 1]", "CaskConvolution", {"in [profile 1]": "Half"}, {"out [profile 1]": "Half"}, "a"),
    )
    found = examined(plain, plan(asked("a")))
    assert [(each.verdict, each.layer) for each in found.verdicts] == [("DROPPED", "a [profile 1]")]
    assert "2 optimization profiles" in found.notes[0]


def test_layers_of_one_name_are_told_apart_by_their_order() -> None:
    weights = {"Weights": {"Type": "Int8"}}
    plain = dump10(
        layer10("l", "CaskConvolution", {"in": "Int8"}, {"x": "Int8"}, "a", **weights),
        layer10("l", "CaskConvolution", {"x": "Int8"}, {"out": "Int8"}, "b", **weights),
    )
    times = read_profile('[{"count": 50}, {"name": "l", "averageMs": 1.0}, {"name": "l", "averageMs": 3.0}]')
    found = examined(plain, plan(asked("a"), asked("b")), times)
    assert [each.share for each in found.verdicts] == [0.25, 0.75] and not found.notes


def test_a_block_of_nodes_says_nothing_of_any() -> None:
    plain = {
        "Layers": [layer10("{ForeignNode[first...last]}", "Myelin", {"in": "Int8"}, {"out": "Int8"})],
        "Bindings": ["in", "out"],
    }
    found = verdicts(plain, plan(asked("first"), asked("inside"), asked("last")))
    assert set(found.values()) == {"UNKNOWN"}


def test_names_without_metadata_are_taken_apart() -> None:
    name = "w + QuantizeLinear_1 + a + PWN(PWN(Sigmoid_1), b) || c"
    assert {"a", "Sigmoid_1", "b", "c"} <= set(
        read_layers(json.dumps([{"Name": name, "LayerType": "x"}])).layers[0].nodes
    )


def test_a_name_with_brackets_stands_in_metadata_as_it_is() -> None:
    layer = {"Name": "l", "LayerType": "x", "Metadata": "[ONNX Layer: a[0]]\x1f[ONNX Layer: b]"}
    assert read([layer]).layers[0].nodes == ("a[0]", "b")


def test_blocks_of_single_layers_are_read_and_do_not_tell_whether_they_are_whole() -> None:
    layer = layer10("l", "gemm", {"in": "Int8"}, {"out": "Int8"}, "a", TacticName=I8)
    text = (
        f"--- Layer 0 ---\n{json.dumps(layer)}\n--- Layer 1 ---\n{json.dumps({**layer, 'Name': 'm', 'Metadata': ''})}\n"
    )
    found = verify_engine.examine(plan(asked("a", "Gemm"), asked("b")), read_layers(text))
    assert [each.verdict for each in found.verdicts] == ["INT8", "UNKNOWN"]


def test_a_waiver_spares_a_dropped_node_and_no_unknown_one() -> None:
    plain = dump10(
        layer10("a", "CaskConvolution", {"in": "Half"}, {"out": "Half"}, "a"), layer10("b", "gemm", {}, {}, "b")
    )
    found = examined(plain, plan(asked("a", waived="few channels"), asked("b", waived="few channels")))
    assert [(each.verdict, each.passes) for each in found.verdicts] == [("DROPPED", True), ("UNKNOWN", False)]


def test_a_node_that_was_to_stay_in_floats_and_multiplies_int8_is_noted() -> None:
    plain = dump10(layer10("a", "CaskConvolution", {"in": "Int8"}, {"out": "Int8"}, "a", Weights={"Type": "Int8"}))
    found = examined(plain, plan(asked("a", expect="float16")))
    assert found.notes == ("`a` was planned in float16, and multiplies int8",) and not found.verdicts


# ---- the profile -----------------------------------------------------------------------------------------------------


def test_names_that_are_no_json_and_times_that_are_no_numbers_are_read() -> None:
    text = r"""[
  { "count" : 12 }
, { "name" : "a "quoted\name" + {b}", "timeMs" : 2.0, "averageMs" : 0.5, "percentage" : 50 }
, { "name" : "c", "timeMs" : nan, "averageMs" : -nan, "medianMs" : nan, "percentage" : nan }
]
"""
    found = read_profile(text)
    assert (found.runs, found.ranks) == (12, True)
    assert [name for name, _ in found.layers] == [r'a "quoted\name" + {b}', "c"]
    assert found.layers[0][1] == 0.5 and found.layers[1][1] != found.layers[1][1]


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1]", '[{"count": 3}]', '[\n  { "count" : 3 }\n]', "x" * 100])
def test_what_is_no_profile_is_told_as_that(text: str) -> None:
    with pytest.raises(WrongInputError):
        read_profile(text)


def test_a_profile_that_is_cut_off_is_told_as_that() -> None:
    text = (REAL / f"{QAT}.profile.json").read_text()
    for cut in range(40, len(text) - 3, 501):
        with pytest.raises(WrongInputError, match=r"cut off|no profile"):
            read_profile(text[:cut])


# ---- wrong files -----------------------------------------------------------------------------------------------------

WRONG_LAYERS = {
    "empty": ("", "it is empty"),
    "cut off": (json.dumps(real(FP16))[:5000], "it ends in the middle|Unterminated"),
    "names": ('{"Layers": ["a", "b"]}', "names of layers alone.*detailed"),
    "one-line form": ("Layers:\nName: a, LayerType: gemm", "one-line form"),
    "one layer": ('{"Name": "a", "LayerType": "gemm"}', "holds no layers"),
    "no layers": ('{"Layers": []}', "holds no layer"),
    "layers of another kind": ('{"Layers": [3]}', r"Layers\[0\]: expected an object"),
    "a name that is none": ('{"Layers": [{"Name": 3}]}', r"Layers\[0\].Name: expected a text"),
    "tensors by name": ('{"Layers": [{"Name": "a", "Inputs": ["x"]}]}', "detailed"),
    "a profile": ((REAL / f"{QAT}.profile.json").read_text(), "a profile, which tells times alone.*exportLayerInfo"),
    "nested": ("[" * 100_000, "nested too deeply"),
    "a long number": ('{"Layers": [' + "9" * 5000 + "]}", "not JSON"),
    "a bad block": ("--- Layer 0 ---\n{}\n--- Layer 1 ---\n{", "layer 0|layer 1|Layers"),
}


@pytest.mark.parametrize("kind", WRONG_LAYERS)
def test_what_is_no_dump_is_told_as_that(kind: str) -> None:
    text, words = WRONG_LAYERS[kind]
    with pytest.raises(WrongInputError, match=words):
        read_layers(text)


def test_the_engine_of_another_model_is_told_as_that() -> None:
    with pytest.raises(WrongInputError, match="another model: its layers name 0 of the 21 planned nodes"):
        examined(real(FP16), planned_of(real(QAT)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "no quant_manifest"),
        ('{"format": 2, "nodes": []}', "of format 2"),
        ('{"format": 1, "nodes": {}}', "nodes: expected a list"),
        ('{"format": 1, "nodes": [{"node": "a"}]}', r"nodes\[0\].op: expected a text"),
        ('{"format": 1, "nodes": [4]}', r"nodes\[0\]: expected an object"),
        (json.dumps({"format": 1, "nodes": [{"node": "a", "op": "Conv", "expect": "int8"}] * 2}), "two of its nodes"),
    ],
)
def test_what_is_no_manifest_is_told_as_that(text: str, words: str) -> None:
    with pytest.raises(WrongInputError, match=words):
        verify_engine.read_manifest(text)


@pytest.mark.slow
def test_any_value_anywhere_is_an_answer_or_told() -> None:
    """On copies of a real dump, with values put where others stood: nothing but WrongInputError is raised."""
    rng, told = random.Random(3), Counter[str]()
    plain = real(RESIDUAL)
    manifest = planned_of(plain)
    for _ in range(150):
        made = json.loads(json.dumps(plain))
        _spoil(made, rng)
        try:
            told[str(examined(made, manifest).passes)] += 1
        except WrongInputError:
            told["told"] += 1
    assert set(told) == {"told", "True", "False"}


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_reading_takes_time_linear_in_the_file() -> None:
    """Of 1 MB each, which by pairs of characters would be a trillion steps."""
    many = 1 << 18
    letters, wrapped, records = "ABCD" * many, "PWN(" * many + ")" * many, "[ONNX Layer: " * (many // 4)
    layers = [layer10(name, "x", {}, {}) for name in (letters, wrapped, " " * 4 * many + "[profile 1]")]
    assert len(read([*layers, {"Name": "m", "LayerType": "x", "Metadata": records}]).layers) == 4
    entry = '[ { "count" : 12 }\n, { "name" : "' + 'a", "timeMs" : 1, "averageMs" : 1 ' * (many // 8)
    with pytest.raises(WrongInputError, match="cut off"):
        read_profile(f"{entry}\n]")


@pytest.mark.slow
@pytest.mark.timeout(30)
def test_judging_takes_time_linear_in_the_layers() -> None:
    many = 12_000
    rows = [layer10(f"q{at}", "Reformat", {f"f{at}": "Half"}, {f"i{at}": "Int8"}, f"q{at}") for at in range(many)]
    times = [{"count": 12}, *({"name": f"q{at}", "averageMs": 1.0} for at in range(many))]
    ends = {"Bindings": [f"{side}{at}" for side in "fi" for at in range(many)]}
    found = examined({"Layers": rows, **ends}, plan(boundary=("q7",)), read_profile(json.dumps(times)))
    assert (len(found.standalone), found.boundary, found.aside) == (many - 1, ("q7",), 1.0)


@pytest.mark.parametrize("digits", ["1" * 10, "9" * 5000])
def test_a_number_of_many_digits_is_no_number(digits: str) -> None:
    layer = read([layer10(f"a [profile {digits}]", "x", {}, {})]).layers[0]
    assert (layer.profile, layer.name) == (0, f"a [profile {digits}]")
    with pytest.raises(WrongInputError):
        read_profile(f'[ {{ "count" : {digits}00 }}\n, {{ "name" : "a", "timeMs" : 1, "averageMs" : x }}\n]')


def _spoil(found: Any, rng: random.Random) -> None:
    """Put another value somewhere inside."""
    while True:
        keys = list(found) if isinstance(found, dict) else list(range(len(found)))
        key = rng.choice(keys)
        inner = found[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.1:
            found[key] = rng.choice([None, 3, -1.5, "", "x", "Int8", "Half", [], {}, [[]], True, "\ud800"])
            return
        found = inner


# ---- the script ------------------------------------------------------------------------------------------------------


def _manifest_file(path: Path, manifest: Manifest) -> Path:
    nodes = [
        {"node": each.node, "op": each.op, "expect": each.expect, "waived": each.waived} for each in manifest.nodes
    ]
    path.write_text(json.dumps({"format": 1, "model": "m", "nodes": nodes, "boundary": list(manifest.boundary)}))
    return path


def _run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """With the standard library alone, from elsewhere."""
    return subprocess.run([sys.executable, "-I", "-S", SCRIPT, *words], capture_output=True, text=True, check=False)


def test_the_script_by_itself(tmp_path: Path) -> None:
    plain = real(QAT)
    manifest = _manifest_file(tmp_path / "quant_manifest.json", planned_of(plain))
    layers, profile = REAL / f"{QAT}.graph.json", REAL / f"{QAT}.profile.json"
    done = _run("--manifest", manifest, "--layers", layers, "--profile", profile)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Conv_9    INT8_IN_FLOAT_OUT  18.4 %  multiplies int8, writes fp32" in done.stdout
    assert "21 planned nodes: 13 INT8_IN_FLOAT_OUT, 8 INT8" in done.stdout
    assert "these take 24.6 % of the time" in done.stdout
    dropped = tmp_path / "layers.json"
    dropped.write_text(json.dumps(in_floats(plain, "Conv_22")))
    done = _run("--manifest", manifest, "--layers", dropped, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 4 and not found["passes"]
    assert [each["node"] for each in found["verdicts"] if not each["passes"]] == ["Conv_22"]


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file"), (b"\xff\xfe\x00", "no text in UTF-8"), (b'{"Layers": ["a"]}', "names of layers alone")],
)
def test_the_script_tells_a_wrong_file_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "layers.json"
    if content is not None:
        path.write_bytes(content)
    done = _run("--manifest", _manifest_file(tmp_path / "m.json", plan(asked("a"))), "--layers", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: ") and words in done.stderr and done.stderr.count("\n") == 1


def test_the_script_is_python_3_10_and_imports_the_standard_library_alone() -> None:
    parsed = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 10))
    names = {node.module for node in ast.walk(parsed) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(parsed) if isinstance(node, ast.Import) for alias in node.names}
    assert {str(name).partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_what_the_samples_say_of_themselves() -> None:
    """The plain counts of the files, without this program's reading of them."""
    layers: list[Plain] = real(QAT)["Layers"]
    convs = [each for each in layers if each["LayerType"] == "CaskConvolution"]
    assert len(convs) == 21 and all(each["Weights"]["Type"] == "Int8" for each in convs)
    assert sum("FP16" in each["Outputs"][0]["Format/Datatype"] for each in convs) == 11
    assert sum(each.get("Origin") == "QDQ" for each in layers) == 10
