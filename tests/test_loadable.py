"""What the runtime would refuse to load is told with the plan, before anything is measured, with a cure that works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_cases import graph_of
from onnx import helper

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError

RECIPE = """recipe demo
model onnx "model.onnx"
data d from npz "d.npz"
quantize static { weights int8 symmetric per_channel; activations int8 symmetric; calibrate minmax on d }
target ort
"""
KEEP = 'keep "turn" in float32\n'
LEAVE = 'place { leave outputs of "turn" }\n'


def written(folder: Path, opset: int, more: str, activations: str = "int8 symmetric") -> Path:
    """conv -> turn (Transpose) -> exp: a pair before the Transpose is carried over it."""
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv", kernel_shape=[1, 1]),
        helper.make_node("Transpose", ["c"], ["t"], name="turn", perm=[0, 2, 3, 1]),
        helper.make_node("Exp", ["t"], ["y"], name="exp"),
    ]
    weights = {"w": np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)}
    model = graph_of(nodes, ["y"], shape=(1, 3, 8, 8), constants=weights, opset=opset)
    model.ir_version = 10
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    images = np.random.default_rng(1).random((4, 3, 8, 8), np.float32)
    np.savez(folder / "d.npz", images=images)
    path = folder / "demo.q"
    path.write_text(RECIPE.replace("activations int8 symmetric", f"activations {activations}") + more, encoding="utf-8")
    return path


@pytest.mark.parametrize("more", [KEEP, LEAVE])
def test_a_refusal_is_told_with_the_plan_and_cured(more: str, tmp_path: Path) -> None:
    path = written(tmp_path, 21, more)
    for verb in (qdsl.plan, lambda at: qdsl.compile(at, out=tmp_path / "build", lock=False)):
        with pytest.raises(QdslError) as caught:
            verb(path)
        (found,) = caught.value.diagnostics
        assert found.code == "target-cannot" and found.span is not None and found.span.line == 4
    assert not (tmp_path / "build").exists(), "nothing was measured or written"
    cure = found.help[0].removeprefix("add `").removesuffix("`")
    path.write_text(path.read_text(encoding="utf-8") + cure + "\n", encoding="utf-8")
    (target,) = qdsl.compile(path, out=tmp_path / "build", lock=False).targets
    assert target.verification.as_predicted


@pytest.mark.parametrize(("opset", "activations"), [(17, "int8 symmetric"), (21, "uint8 affine")])
def test_what_loads_is_not_refused(opset: int, activations: str, tmp_path: Path) -> None:
    path = written(tmp_path, opset, KEEP, activations)
    assert main(["compile", str(path), "--out", str(tmp_path / "build"), "--no-lock"]) == 0
