"""Raising the opset: same results, same names, weights untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from graph_cases import conv_model, parse, weight_bytes, with_external

import qdsl.graph
from qdsl.diag import QdslError
from qdsl.graph import edit
from qdsl.graph.model import Model


def _run(model: Model, *feeds: np.ndarray) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(qdsl.graph.to_bytes(model), options)
    return list(session.run(None, {i.name: feed for i, feed in zip(session.get_inputs(), feeds, strict=True)}))


def test_changed_operators_are_converted_bodies_included() -> None:
    text = """g (bool c, float[1,4] x) => (float[4] y, float[1,4] z) {
      z = Softmax (x)
      y = If (c) <then_branch = a () => (float[4] p) { p = Squeeze <axes=[0]> (x) },
        else_branch = b () => (float[4] q) { r = Relu (x) q = Squeeze <axes=[0]> (r) }>
    }"""
    model = qdsl.graph.from_proto(parse(text, 11))
    raised = qdsl.graph.upgrade_opset(model, 17)
    feeds = np.array(False), np.float32([[1, -2, 3, 4]])
    for before, after in zip(_run(model, *feeds), _run(raised, *feeds), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-6)
    assert (model.opset, raised.opset) == (11, 17)


def test_names_metadata_and_lazy_weights_are_carried_over(tmp_path: Path) -> None:
    with_external(tmp_path / "m.onnx", "w.bin", weight_bytes())
    model = qdsl.graph.load(tmp_path / "m.onnx")
    edit.set_metadata(model.nodes()[0], "origin", "line 3")
    raised = qdsl.graph.upgrade_opset(model, 21)
    assert [node.name for node in raised.nodes()] == [node.name for node in model.nodes()]
    assert raised.values("w").tobytes() == weight_bytes()
    assert qdsl.graph.to_proto(raised).graph.node[0].metadata_props[0].value == "line 3"
    assert raised.view().inputs == ("x",)


def test_an_opset_already_reached_changes_nothing() -> None:
    model = qdsl.graph.from_proto(conv_model())
    assert qdsl.graph.upgrade_opset(model, 13) is model


def test_an_operator_without_a_way_up_is_said() -> None:
    model = qdsl.graph.from_proto(parse("g (float[4] x) => (float[4] y) { y = NotAnOperator (x) }", 9))
    with pytest.raises(QdslError, match=r"model-upgrade.*NotAnOperator"):
        qdsl.graph.upgrade_opset(model, 13)


@pytest.mark.parametrize(("name", "side"), [("yolox_nano", 416), ("FastestDet", 352)])
def test_detectors_of_opset_11_run_the_same_at_17(name: str, side: int, testdata: Path) -> None:
    model = qdsl.graph.load(testdata / "models" / f"{name}.onnx")
    image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    for before, after in zip(_run(model, image), _run(qdsl.graph.upgrade_opset(model, 17), image), strict=True):
        np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)
