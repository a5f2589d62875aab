"""What the runtime would refuse to load is told with the plan, before anything is measured, with a cure that works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from data_cases import graph_of
from onnx import helper

import qdsl
from qdsl.calibrate.session import require_loads
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.graph import load

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


MODES = {
    "static": "quantize static { weights int8; activations uint8; calibrate minmax on d }",
    "dynamic": "quantize dynamic { weights uint8 }",
    "float": "quantize float { weights float16; activations float16 }",
}
REFUSED = {
    "an operator that nobody has": [helper.make_node("Mystery", ["c"], ["y"], name="odd", domain="my.own")],
    "a type without a kernel": [
        helper.make_node("Cast", ["c"], ["d"], name="to", to=16),
        helper.make_node("Relu", ["d"], ["e"], name="odd"),
        helper.make_node("Cast", ["e"], ["y"], name="back", to=1),
    ],
}


def _refused(folder: Path, nodes: list[onnx.NodeProto], mode: str, domain: bool) -> Path:
    conv = helper.make_node("Conv", ["images", "w"], ["c"], name="conv", kernel_shape=[1, 1])
    weights = {"w": np.random.default_rng(0).standard_normal((64, 64, 1, 1)).astype(np.float32)}
    model = graph_of([conv, *nodes], ["y"], shape=(1, 64, 8, 8), constants=weights, opset=17)
    model.opset_import.extend([helper.make_opsetid("my.own", 1)] if domain else [])
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "d.npz", images=np.random.default_rng(1).random((4, 64, 8, 8), np.float32))
    path = folder / "demo.q"
    lines = RECIPE.splitlines()
    path.write_text("\n".join([*lines[:3], MODES[mode], lines[4], ""]), encoding="utf-8")
    return path


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", REFUSED)
def test_what_only_the_runtime_refuses_of_the_model_comes_first(what: str, mode: str, tmp_path: Path) -> None:
    """Before the data is opened, anything is written, or a lock is."""
    path = _refused(tmp_path, REFUSED[what], mode, domain="nobody" in what)
    (tmp_path / "d.npz").write_bytes(b"no archive")
    heard = []
    with pytest.raises(QdslError) as caught:
        qdsl.compile(path, out=tmp_path / "build", listener=lambda event: heard.append(event.stage))
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line if found.span else 0) == ("calibration-load", 2)
    assert heard == [] and not (tmp_path / "build").exists() and not path.with_suffix(".lock").exists()


def test_large_weights_are_not_read_to_find_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*words: object) -> None:
        raise AssertionError("the whole model is loaded")

    monkeypatch.setattr("qdsl.calibrate.session.session", whole)
    path = written(tmp_path, 17, "")
    require_loads(load(tmp_path / "model.onnx"))
    nodes = REFUSED["an operator that nobody has"]
    path = _refused(tmp_path, nodes, "dynamic", domain=True)
    with pytest.raises(AssertionError, match="whole model"):
        require_loads(load(path.parent / "model.onnx"))
