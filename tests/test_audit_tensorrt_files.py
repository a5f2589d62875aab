"""What the audit says about TensorRT of small files, each of which TensorRT-RTX was asked about (`test_rtx.py`)."""

from __future__ import annotations

import pytest
from audit_tools import audited, found
from tensorrt_files import FILES, along

from qdsl.diag import Severity

# Of these files other rules speak, too, and say nothing of what TensorRT makes of them.
_ELSE = frozenset({"pair_at_graph_edge", "unused_range", "stored_wide"})


@pytest.mark.parametrize("name", FILES)
def test_what_is_told_of_a_file(name: str) -> None:
    case = FILES[name]
    told = {(each.rule, each.severity) for each in found(audited(case.make(), "tensorrt")) if each.rule not in _ELSE}
    if not case.rule:
        assert told == set()
        return
    assert (case.rule, case.severity) in told
    assert all(each == case.rule for each, severity in told if severity is Severity.ERROR), "one cause, one error"


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
