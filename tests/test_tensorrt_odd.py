"""Models made by others, written for TensorRT: each is refused with its reason, or becomes a file that ONNX's checker,
ONNX Runtime, our own audit and TensorRT-RTX take, and that is built as it is planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnxruntime
import pytest
from odd_corpus import Outcome, recipe_of
from tensorrt_plans import MULTIPLY, Written, written

import qdsl
from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.engines.rtx import examining, places
from qdsl.spec.engine import BUILT, DROPPED, ELIMINATED, INT8, UNKNOWN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PARTS = ("models", "odd")
# Generated code with a product of unknown length in it reads integers; what it multiplies is not shown.
NOT_SHOWN = {"unbounded_dds.onnx"}


@dataclass
class Made:
    """What became of the files of a folder: the artifact, or the codes that refuse it."""

    files: dict[str, Written] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Path] = field(default_factory=dict)


@pytest.fixture(scope="module", params=PARTS)
def made(request: pytest.FixtureRequest, testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    found = Made()
    for file in sorted((testdata / request.param).rglob("*.onnx")):
        folder = tmp_path_factory.mktemp("odd")
        outcome = Outcome(file.name)
        recipe = recipe_of(file, folder, outcome, "tensorrt")
        found.sources[file.name] = file
        assert not outcome.faults, outcome.faults
        if recipe is None:
            found.refused[file.name] = outcome.plan
            continue
        try:
            found.files[file.name] = written(recipe, folder)
        except QdslError as error:
            found.refused[file.name] = " ".join(sorted({each.code for each in error.diagnostics}))
            assert all(each.span is not None or each.help for each in error.diagnostics if _is_error(each)), file.name
    return found


def _is_error(each: Diagnostic) -> bool:
    return each.severity is Severity.ERROR


def test_a_file_is_written_or_refused(made: Made) -> None:
    assert len(made.files) >= 8 and len(made.files) + len(made.refused) == len(made.sources)
    assert not {name: codes for name, codes in made.refused.items() if not codes or "FAULT" in codes}


def test_what_is_written_is_valid_and_runs_as_it_is_written(made: Made) -> None:
    """As far as that holds for the float model."""
    for name, each in made.files.items():
        if valid(made.sources[name]):
            assert valid(each.path), name
        if loads(made.sources[name]):
            assert loads(each.path), name
    assert sum(loads(made.sources[name]) for name in made.files) >= len(made.files) - 2


def valid(path: Path) -> bool:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def loads(path: Path) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # of several kinds without a common one
        return False
    return True


def test_our_own_audit_finds_no_error_in_what_is_written(made: Made) -> None:
    for name, each in made.files.items():
        findings = qdsl.audit(each.path, target="tensorrt").report.findings
        assert not [found.rule for found in findings if found.severity is Severity.ERROR], name


@pytest.mark.rtx
@pytest.mark.skipif(places.place() is None, reason="TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")
def test_what_is_written_is_built_as_it_is_planned(made: Made) -> None:
    for name, each in made.files.items():
        seen = examining.examine(each.proto, path=each.path).seen
        if seen.stage != BUILT and not valid(made.sources[name]):
            source = made.sources[name]
            assert examining.examine(onnx.load(source), path=source).seen.stage != BUILT, name
            continue
        assert (seen.stage, seen.reason) == (BUILT, ""), (name, seen.refused)
        planned = {node.node: node.prediction for node in each.plan.nodes if node.op in MULTIPLY}
        found = {node: seen.verdicts[node].verdict for node in planned}
        integer = {node for node, said in planned.items() if said.runs == "integer"}
        lost = {node for node in integer if found[node] != INT8}
        assert not lost if name not in NOT_SHOWN else {found[node] for node in lost} == {UNKNOWN}, name
        assert {found[node] for node in planned.keys() - integer} <= {DROPPED, UNKNOWN, ELIMINATED}, name
