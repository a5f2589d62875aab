"""One recipe for two targets: one calibration, two artifacts, and how their placements differ, node by node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.cli import main
from qdsl.describe.placements_text import as_markdown, as_text

Golden = Callable[[str, str], None]
INT8 = "quantize static { activations int8 symmetric per_tensor }"
BOTH = f"{HEAD}target tensorrt {{ {INT8} }}\n"
MEASURED = (
    HEAD.replace("target ort\n", "")
    + f"""target ort {{ require size <= 9 MiB }}
target tensorrt {{ {INT8}; require size <= 8 MiB }}
evaluate fidelity on calib {{ measure sqnr }}
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return project(tmp_path, head=BOTH)


def test_placements_of_two_targets_read_well(recipe: Path, golden: Golden) -> None:
    found = qdsl.plan(recipe, compare=True).placements
    assert found is not None
    golden("plan/two_targets.txt", as_text(found))
    golden("plan/two_targets.md", as_markdown(found))


def test_every_node_is_told_with_what_each_target_does_and_why(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", str(recipe), "--compare", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    nodes = {each["node"]: each for each in data["nodes"]}
    assert data["targets"] == ["ort", "tensorrt"] and len(nodes) == 11
    conv, add = nodes["inner"]["placed"], nodes["add"]["placed"]
    assert [conv[each]["bias"] for each in data["targets"]] == ["int32", "float32"]
    assert [conv[each]["writes"]["type"] for each in data["targets"]] == ["uint8", "int8"]
    assert conv["tensorrt"]["writes"]["past"] == ["Add", "Relu"]
    assert [read["skip"] for read in add["tensorrt"]["reads"]] == [False, True]
    assert [read["type"] for read in add["tensorrt"]["reads"]] == ["float32", "int8"]
    for each in nodes.values():
        for target, placed in each["placed"].items():
            assert placed["because"] and placed["row"] in data["rows"][target]


def test_a_skip_in_floats_is_why_a_layer_writes_floats(tmp_path: Path) -> None:
    head = BOTH.replace(INT8, f"{INT8}; place {{ leave skip of residual_add }}")
    found = qdsl.plan(project(tmp_path, head=head), compare=True).placements
    assert found is not None
    (node,) = (each for each in found.nodes if each.node == "inner")
    assert node.placed["tensorrt"].behind.floats == "the skip of add comes in floats"
    assert node.placed["ort"].behind.type == "uint8"


def test_comparing_is_for_several_targets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project(tmp_path)
    assert main(["plan", str(recipe), "--compare"]) == 2
    assert "for ort alone" in capsys.readouterr().err
    assert main(["plan", str(recipe), "--markdown"]) == 2
    assert "--compare" in capsys.readouterr().err


def test_names_of_a_file_end_no_cell_of_the_table(recipe: Path) -> None:
    found = qdsl.plan(recipe, compare=True).placements
    assert found is not None
    lines = [line for line in as_markdown(found).splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in lines} == {6, 3}


@pytest.mark.slow
def test_both_are_compiled_from_one_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each tensor is measured once, whoever asks for it; lines of the log name their target."""
    recipe = project(tmp_path, head=MEASURED)
    assert main(["compile", str(recipe), "--out", str(tmp_path / "build"), "--no-lock"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("calibrate") for line in said) == 1
    named = {stage: [line.split()[1] for line in said if line.startswith(stage)] for stage in ("rewrite", "require")}
    assert named == {"rewrite": ["ort", "tensorrt"], "require": ["ort", "tensorrt"]}
    assert [line.split()[1] for line in said if line.startswith("memory")] == ["ort"]  # an engine decides of its own
    ranges = json.loads((tmp_path / "build" / "demo" / "ranges.json").read_text())
    plans = qdsl.plan(recipe).plans
    asked = [{tensor.tensor for tensor in plan.tensors if tensor.observe} for plan in plans]
    assert ranges["tensors"].keys() == asked[0] | asked[1] and asked[0] & asked[1]
    assert {path.parent.name for path in (tmp_path / "build" / "demo").glob("*/model.onnx")} == {"ort", "tensorrt"}
