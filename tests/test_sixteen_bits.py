"""int16 and uint16 in a static build: accepted as `storage_only`, emulated honestly, mixed with 8 bit neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from compile_tools import project, session

import qdsl
from qdsl.diag import QdslError

RULES = {
    "int16": "layers op Conv { activations int16 symmetric storage_only }\n",
    "uint16": "layers op Conv { activations uint16 storage_only }\n",
    "one layer": 'layers "left" { activations int16 storage_only }\n',
    "weights": "layers op Conv { weights int16 storage_only }\n",
    "everything": "layers all { activations uint16 storage_only; weights int16 storage_only }\n",
    "a width": "layers all { activations 16 bit storage_only }\n",
    "12 bits": "layers all { activations 12 bit storage_only }\n",
    "movers": "layers op [GlobalAveragePool, Flatten] { activations int16 storage_only }\n",
    "entropy": "layers op Conv { activations int16 storage_only; calibrate entropy on calib }\n",
}


def compiled(folder: Path, rules: str) -> Any:
    return qdsl.compile(project(folder, rules), out=folder / "build", lock=False).targets[0]


@pytest.mark.parametrize("name", RULES)
def test_sixteen_bits_are_stored_and_said_to_be(name: str, tmp_path: Path) -> None:
    target = compiled(tmp_path, RULES[name])
    assert target.verification.as_predicted, target.verification.mismatches
    notes = {node.node: node.note for node in target.plan.nodes}
    assert any("16" in note and "computes in float" in note for note in notes.values())
    assert target.verification.outputs[0].sqnr_db > 30
    session(target.emitted.model)
    q = [n for n in onnx.load(target.emitted.model).graph.node if n.op_type == "DequantizeLinear"]
    assert {n.domain for n in q} >= {"com.microsoft"}, "opset 17 has no 16 bit types of its own"


def test_more_bits_lose_less(tmp_path: Path) -> None:
    eight = compiled(tmp_path / "8", "").verification.outputs[0].sqnr_db
    sixteen = compiled(tmp_path / "16", RULES["everything"]).verification.outputs[0].sqnr_db
    assert sixteen > eight + 10


def test_int16_is_symmetric_and_uint16_affine_by_default(tmp_path: Path) -> None:
    for kind, symmetric in (("int16", True), ("uint16", False)):
        head = (
            'recipe demo\nmodel onnx "demo.onnx"\ndata calib from npz "calib.npz"\n'
            f"quantize static {{ activations {kind} storage_only; calibrate minmax on calib }}\ntarget ort\n"
        )
        recipe = project(tmp_path / kind, head=head)
        (plan,) = qdsl.plan(recipe).plans
        assert {t.scheme.symmetric for t in plan.tensors} == {symmetric}
        (target,) = qdsl.compile(recipe, out=tmp_path / kind / "build", lock=False).targets
        assert target.verification.as_predicted and target.verification.outputs[0].sqnr_db > 30


def test_without_storage_only_the_cure_is_named(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, "layers op Conv { activations int16 }\n"))
    (found,) = caught.value.diagnostics
    assert found.code == "target-cannot" and found.span is not None and found.span.line == 11
    assert any("storage_only" in cure for cure in found.help)
