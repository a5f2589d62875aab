"""What the audit says about TensorRT of small files, each of which TensorRT-RTX was asked about (`test_rtx.py`)."""

from __future__ import annotations

import re

import pytest
from audit_tools import audited, found
from compile_tools import ROOT
from tensorrt_files import AXES, FILES, along
from tensorrt_types import MORE, SHAPES
from test_audit_rules_tensorrt import CASES, channels_of_an_activation

from qdsl.auditing.index import RULES
from qdsl.capability import load
from qdsl.diag import Severity
from qdsl.spec.engine import INT8

# Of these files other rules speak, too, and say nothing of what TensorRT makes of them.
_ELSE = frozenset({"pair_at_graph_edge", "unused_range", "stored_wide", "weakly_typed_flags"})
_ALL = {**FILES, **MORE}


@pytest.mark.parametrize("name", _ALL)
def test_what_is_told_of_a_file(name: str) -> None:
    case = _ALL[name]
    aside = _ELSE if name in SHAPES else _ELSE | {"slow_kernel"}  # the others are small
    told = {(each.rule, each.severity) for each in found(audited(case.make(), "tensorrt")) if each.rule not in aside}
    if not case.rule:
        assert told == set()
        return
    assert (case.rule, case.severity) in told
    assert all(each == case.rule for each, severity in told if severity is Severity.ERROR), "one cause, one error"


def rows() -> dict[str, tuple[list[str], list[str]]]:
    """The table of `docs/tensorrt.md`: the rules and the files of each line."""
    page = (ROOT / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    found = {}
    for line in page.partition("## What TensorRT asks of a file")[2].partition("\n\nWhere the two")[0].splitlines()[9:]:
        code, _, named, files = (cell.strip() for cell in line.strip("|").split("|"))
        found[f"{code}{named}"] = re.findall(r"`(\w+)`", named), [each.strip() for each in files.split(";")]
    return found


def test_the_page_names_what_is_asked_and_files_that_show_it() -> None:
    table = rows()
    codes = {re.match(r"[HS]?\d*", line)[0] for line in table}  # type: ignore[index]
    assert codes == {"", *(f"H{at}" for at in range(1, 11)), *(f"S{at}" for at in range(1, 7))}
    kinds = {**{name: case.rule for name, case in _ALL.items()}, **{name: rule for name, (_, rule, _) in CASES.items()}}
    kinds |= {"reference": "", "bias of 8 bits": ""}  # `taken` of `test_audit_rules_tensorrt.py`, and its last test
    for line, (rules, files) in table.items():
        assert set(rules) <= set(RULES), line
        for file in files if not line.startswith(("S5", "H10")) else ():
            clean = file.startswith("*")
            assert (kinds[file.strip("*")] == "") == clean, f"{line}: {file}"


@pytest.mark.parametrize(("op", "axis", "more"), [("Conv", 1, {}), ("Conv", None, {}), ("Gemm", 1, {"transB": 1})])
def test_onnxruntime_fuses_scales_of_inputs_as_those_of_outputs(
    op: str, axis: int | None, more: dict[str, int]
) -> None:
    findings = [each for each in found(along(op, axis, **more), "ort") if each.rule == "weights_along_inputs"]
    assert [(each.place.name, each.severity) for each in findings] == [("n_product", Severity.ERROR)]


@pytest.mark.parametrize(("op", "axis"), [("Conv", 0), ("Gemm", 1), ("MatMul", 0), ("MatMul", 1)])
def test_what_onnxruntime_reads_as_it_is_written_is_not_told(op: str, axis: int) -> None:
    """MatMul asks for the axis, and computes in floats where it is the other one."""
    assert [each for each in found(along(op, axis), "ort") if each.rule == "weights_along_inputs"] == []


@pytest.mark.parametrize("name", AXES)
def test_a_product_is_foretold_in_int8_where_its_scales_run_along_its_outputs(name: str) -> None:
    case = AXES[name]
    said = audited(case.make(), "tensorrt").predictions["n_product"]
    assert (said.runs == "integer") == (case.computes == INT8)
    assert said.runs == "integer" or "do not run along its output channels" in said.because


def test_a_product_of_an_activation_with_many_scales_is_foretold_in_floats() -> None:
    said = audited(channels_of_an_activation(), "tensorrt").predictions["n_conv"]
    assert (said.runs, said.because) == ("float", load("tensorrt").reasons["many_scales"])
