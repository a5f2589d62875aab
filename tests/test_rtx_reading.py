"""What is read of an engine's text and of the process that builds it, without TensorRT-RTX: the text is synthetic, of
the form that tests/test_rtx.py reads from the real one, and the processes are harmless scripts."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from audit_tools import File
from onnx import ModelProto, TensorProto, helper

from qdsl.auditing.auditing import Wanted, audit
from qdsl.auditing.formats.data import to_data
from qdsl.auditing.formats.terminal import render
from qdsl.auditing.report import AuditReport
from qdsl.diag import Diagnostics, QdslError
from qdsl.engines.rtx import places
from qdsl.engines.rtx.capabilities import CAPABILITIES, capability, nearest
from qdsl.engines.rtx.examining import Examined, examine
from qdsl.engines.rtx.layers import layers
from qdsl.engines.rtx.names import is_ambiguous, with_names
from qdsl.engines.rtx.places import Place
from qdsl.engines.rtx.twins import with_twins
from qdsl.engines.rtx.verdicts import verdicts
from qdsl.graph import from_proto
from qdsl.spec.bounds import UnfitError
from qdsl.spec.engine import (
    BUILD,
    DROPPED,
    ELIMINATED,
    FP8,
    INT8,
    PARSE,
    UNDECIDED,
    UNKNOWN,
    WEIGHT_ONLY,
    EngineRefusal,
    EngineSeen,
    EngineVerdict,
)

ROOT = Path(__file__).resolve().parent.parent


def tensors(types: str) -> str:
    return ", ".join(f"{{ Name: t, Dimensions: [1,4], Datatype: {each}, Format: none }}" for each in types.split())


def line(kind: str, inputs: str, constants: str, nodes: str, *, name: str = "made", outputs: str = "Float") -> str:
    """A synthetic layer; types and nodes are words."""
    constant = f", Constants: [ {tensors(constants)}]" if constants else ""
    metadata = "".join(f"[ONNX Layer: {node}]\x1f" for node in nodes.split())
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: [ {tensors(inputs)}]{constant}, Outputs: [ {tensors(outputs)}], "
        f"TacticName: t, StreamId: 0, Metadata: {metadata}"
    )


# What a node computes in, and the layers in which it stands.
JUDGED = {
    INT8: [line("correlation", "Int8", "Int8 Float", "n q"), line("kgen", "Float", "", "n")],
    FP8: [line("gemm", "FP8", "FP8", "n")],
    DROPPED: [line("kgen", "", "Float Int8", "q"), line("correlation", "Float", "Float", "n")],
    WEIGHT_ONLY: [line("runtime_fusion", "Half", "Int4", "n")],
    UNKNOWN: [line("runtime_fusion", "Int8", "Int8", "n")],
    ELIMINATED: [line("correlation", "Int8", "Int8", "other")],
}


@pytest.mark.parametrize("verdict", JUDGED)
def test_a_node_has_the_verdict_of_the_layer_that_multiplies(verdict: str) -> None:
    found = verdicts([("n", "Conv")], layers("Layers:\n" + "\n".join(JUDGED[verdict])))
    assert found["n"].verdict == verdict and found["n"].because


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "verdict"),
    [
        ("gemm", "Int8 Int8", "", INT8),
        ("correlation", "Int8", "Float", UNKNOWN),
        ("kgen", "Int8", "", UNKNOWN),
        ("kgen", "Float", "Float", DROPPED),
        ("runtime_fusion", "Float", "Float", DROPPED),
    ],
)
def test_where_integers_reach_a_node_decides(kind: str, inputs: str, constants: str, verdict: str) -> None:
    assert verdicts([("n", "MatMul")], layers(line(kind, inputs, constants, "n")))["n"].verdict == verdict


def test_a_transposed_convolution_in_floats_says_nothing_of_other_builders() -> None:
    found = verdicts([("n", "ConvTranspose"), ("m", "Conv")], layers(line("deconv", "Float", "Float", "n m")))
    assert [each.verdict for each in found.values()] == [DROPPED, DROPPED]
    assert [each.holds_elsewhere for each in found.values()] == [False, True]


def test_a_product_that_is_made_once_is_that_of_both_its_nodes() -> None:
    """Where the weights are the same integers; else what stands in generated code alone computes there."""
    text = "\n".join([line("correlation", "Int8", "Int8", "n_one"), line("kgen", "Float", "Float", "n_two")])
    for code, verdict in ((9, INT8), (8, DROPPED)):
        file, read = File(kind=np.int8), ""
        for name, value in (("one", 9), ("two", code)):
            read = read or file.pair("x")
            file.conv(read, name=name, weight=file.weight(f"{name}_w", 4, 4, 1, 1, codes=np.full((4, 4, 1, 1), value)))
        nodes, told = [("n_one", "Conv"), ("n_two", "Conv")], layers(text)
        found = with_twins(file.give("one", "two"), verdicts(nodes, told), told)
        assert [each.verdict for each in found.values()] == [INT8, verdict]


def test_a_node_behind_a_body_is_told_with_it_and_sizes_move_without_a_kernel() -> None:
    moved = "Name: [trainStation1], LayerType: TrainStation, Inputs: [], Outputs: [], TacticValue: 0x0, Metadata: \n"
    told = layers(
        moved + line("correlation", "Int8", "Int8", "").replace("Metadata: ", "Metadata: [ONNX Layer: n | a (If)]")
    )
    assert [each.kind for each in told] == ["TrainStation", "correlation"]
    assert verdicts([("n", "Conv")], told)["n"].verdict == INT8


def test_a_product_of_the_same_tensors_is_made_once() -> None:
    file = File(kind=np.int8)
    read = file.pair("x")
    model = file.give(*(file.node("MatMul", read, read, name=name) for name in ("one", "two")))
    told = layers(line("gemm", "Int8 Int8", "", "n_one"))
    found = with_twins(model, verdicts([("n_one", "MatMul"), ("n_two", "MatMul")], told), told)
    assert [each.verdict for each in found.values()] == [INT8, INT8]


@pytest.mark.parametrize("text", ["", "Layers:\n", "Name: a, LayerType: kgen, Outputs: [], Inputs: []", "LayerType: "])
def test_text_of_another_form_is_not_read_as_layers(text: str) -> None:
    with pytest.raises(UnfitError):
        layers(text)


def pair(name: str = "conv") -> ModelProto:
    file = File(kind=np.int8)
    return file.give(file.conv(file.pair("x"), name=name))


def test_names_that_would_be_read_as_layers_are_others_in_the_text() -> None:
    model = pair()
    model.graph.node[-1].name = "a][ONNX Layer: b"
    named, known = with_names(model)
    assert known[named.graph.node[-1].name] == "a][ONNX Layer: b" and "[" not in named.graph.node[-1].name
    assert not is_ambiguous(named)
    model.graph.node[-1].output[0] = "x, Datatype: Int8, "
    assert is_ambiguous(model)


def test_a_node_has_another_name_than_those_of_bodies() -> None:
    """A layer tells a node of a body by its name, too."""
    model = pair()
    inner = helper.make_node("Identity", ["x"], ["y"], name=model.graph.node[-1].name)
    body = helper.make_graph([inner], "body", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model.graph.node.append(helper.make_node("If", ["condition"], ["z"], name="if", then_branch=body, else_branch=body))
    named, known = with_names(model)
    conv = named.graph.node[-2]
    assert conv.op_type == "Conv" and conv.name != inner.name and known[conv.name] == inner.name


# A process that does not do what it should, and what is said of it.
ANSWERS = "import sys; open(sys.argv[2], 'w').write({!r})"
ENDS = {
    "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)": "its process died by SIGSEGV",
    "import sys; sys.exit('no such thing\\nlast words')": "its process ended with 1: last words",
    "import time; time.sleep(60)": "it took more than 1 s and was ended",
    "": "its process ended well, and without an answer",
    ANSWERS.format("Layers: ["): "its answer cannot be read: it is not JSON",
    ANSWERS.format('{"version": "1"}'): "its answer cannot be read: the key `stage` is missing",
    ANSWERS.format('{"version": "1", "stage": "passed"}'): "expected one of",
    ANSWERS.format('{"version": "1", "stage": "built"}'): "its text cannot be read",
}


def stood_in(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float = 60) -> Examined:
    """A file examined by a script in the place of the process."""
    child = folder / "stand_in.py"
    child.write_text(script, encoding="utf-8")
    monkeypatch.setattr("qdsl.engines.rtx.running.CHILD", child)
    return examine(pair(), seconds=seconds, at=Place(Path(sys.executable), ("-I", "-S")))


@pytest.mark.slow
@pytest.mark.parametrize("script", ENDS)
def test_a_process_that_fails_leaves_it_undecided(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = stood_in(script, tmp_path, monkeypatch, seconds=1 if "sleep" in script else 60).seen
    assert (seen.stage, seen.verdicts) == (UNDECIDED, {}) and ENDS[script] in seen.reason


def test_an_interpreter_that_is_gone_leaves_it_undecided(tmp_path: Path) -> None:
    seen = examine(pair(), at=Place(tmp_path / "gone", ())).seen
    assert seen.stage == UNDECIDED and "gone does not start" in seen.reason


def audited(seen: EngineSeen) -> AuditReport:
    return audit(from_proto(pair()), [Wanted("tensorrt", engine=seen)], diags=Diagnostics())


def test_what_is_undecided_never_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = audited(stood_in("import os; os.abort()", tmp_path, monkeypatch).seen)
    (found,) = report.sections[0].findings_of("engine_undecided")
    assert found.severity.value == "error" and "died by SIGABRT" in found.message
    assert "undecided: its process died by SIGABRT" in render(report)


def test_a_report_counts_verdicts_under_their_source() -> None:
    file = pair()
    engine = verdicts([("n_conv", "Conv")], layers(line("correlation", "Float", "Float", "n_conv")))
    report = audit(
        from_proto(file),
        [Wanted("tensorrt", engine=EngineSeen("an engine of a test", "built", engine, notes=("more",)))],
        diags=Diagnostics(),
    )
    assert "engine     an engine of a test\n           1 of 1 Conv DROPPED\n" in render(report)
    (found,) = report.sections[0].findings_of("engine_dropped")
    assert found.place.name == "n_conv" and found.why == "an engine of a test"
    assert to_data(report)["targets"]["tensorrt"]["engine"]["nodes"]["n_conv"]["verdict"] == DROPPED


def found_in(seen: EngineSeen, rule: str) -> list[tuple[str, str, str]]:
    """Level, place and message of each finding of a rule."""
    findings = audited(seen).sections[0].findings_of(rule)
    return [(each.severity.value, each.place.name, each.message) for each in findings]


def test_what_is_refused_is_told_at_its_node_and_without_its_name_again() -> None:
    text = "Invalid Node - x_q\nITensor: Error Code 4 (x_q: input has type Int32)"
    refused = (EngineRefusal("n_x_q", text.replace("x_q", "n_x_q"), "parseNode"), EngineRefusal("", "no kernel"))
    assert found_in(EngineSeen("s", PARSE, refused=refused), "engine_refused") == [
        ("error", "", "the file is refused by the parser: no kernel"),
        (
            "error",
            "n_x_q",
            "`n_x_q` is refused by the parser: ITensor: Error Code 4 (input has type Int32) (parseNode)",
        ),
    ]
    assert "no engine is built" in render(audited(EngineSeen("s", BUILD, refused=refused[1:])))


@pytest.mark.parametrize(
    ("verdict", "rule", "told"),
    [
        (EngineVerdict(DROPPED), "engine_dropped", ["warning"]),
        (EngineVerdict(DROPPED, holds_elsewhere=False), "engine_dropped", ["note"]),
        (EngineVerdict(WEIGHT_ONLY), "engine_dropped", ["warning"]),
        (EngineVerdict(UNKNOWN), "engine_unknown", ["warning"]),
        (EngineVerdict(ELIMINATED), "engine_unknown", ["warning"]),
        (EngineVerdict(INT8), "engine_dropped", []),
        (EngineVerdict(INT8), "engine_unknown", []),
    ],
)
def test_a_quantized_layer_is_told_by_its_verdict(verdict: EngineVerdict, rule: str, told: list[str]) -> None:
    seen = EngineSeen("s", "built", {"n_conv": verdict})
    assert [level for level, _, _ in found_in(seen, rule)] == told


def test_a_layer_with_float_weights_was_not_dropped_by_the_engine() -> None:
    file = File()
    file.conv(file.pair("x"), name="conv", weight=file.constant("w", np.ones((4, 4, 1, 1), np.float32)))
    seen = EngineSeen("s", "built", {"n_conv": EngineVerdict(DROPPED)})
    report = audit(from_proto(file.give("conv")), [Wanted("tensorrt", engine=seen)], diags=Diagnostics())
    assert report.sections[0].findings_of("engine_dropped") == ()
    assert report.sections[0].findings_of("half_quantized_op")


@pytest.mark.parametrize("said", ["sm86", "SM86", "8.6", "86", "sm_86"])
def test_a_capability_may_be_said_in_several_ways(said: str) -> None:
    assert capability(said) == "sm86"


@pytest.mark.parametrize(("said", "device"), [("sm87", "Jetson Orin"), ("9.0", "Hopper"), ("fast", "")])
def test_a_capability_that_the_wheel_lacks_is_an_error_that_lists_what_it_has(said: str, device: str) -> None:
    with pytest.raises(QdslError) as caught:
        capability(said)
    (found,) = caught.value.diagnostics
    assert found.code == "rtx-capability" and device in found.headline
    assert set(re.findall(r"`(\w+)`", found.help[0])) == set(CAPABILITIES)


def test_its_library_is_loaded_in_a_process_of_its_own_alone() -> None:
    """What it is called: nothing of it runs in the process that asks, and nobody imports what does load it."""
    loads = re.compile(
        r"^\s*(import|from) (tensorrt_rtx|qdsl\.engines\.rtx(\.child| import .*\bchild\b))", re.MULTILINE
    )
    files = [path for top in ("qdsl", "passes") for path in (ROOT / top).rglob("*.py")]
    found = [path for path in files if loads.search(path.read_text(encoding="utf-8"))]
    assert found == [ROOT / "qdsl/engines/rtx/child.py"]


def test_the_extra_installs_what_the_environment_of_its_own_does() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert tuple(extras["rtx"]) == places.PACKAGES
    others = [each for name, held in extras.items() if name != "rtx" for each in held]
    assert not [each for each in others if "tensorrt" in each]


@pytest.mark.parametrize(
    ("of", "built"),
    [
        ("", "sm86"),
        ("8.7", "sm86"),
        ("8.9", "sm89"),
        ("9.0", "sm89"),
        ("12.1", "sm121"),
        ("8.0", "sm80"),
        ("7.5", "sm86"),
        ("5.3", "sm86"),
    ],
)
def test_without_a_word_an_engine_is_for_the_nearest_gpu_that_can_be_built_for(of: str, built: str) -> None:
    assert nearest(of) == built
