"""Every diagnostic code of this part is raised by its example."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from graph_cases import CASES, conv_model
from onnx import save

import qdsl.graph
from qdsl.diag import Diagnostic, QdslError, Span, one_line
from qdsl.diag.codes.graph import CODES
from qdsl.graph.finite import require_finite

LINE = Span("demo.q", 2, 1, 2, 24)


def _after_loading(code: str, path: Path, span: Span | None) -> None:
    """What raises a code that loading alone does not."""
    model = qdsl.graph.load(path, widen=code == "model-float16", span=span)
    steps: dict[str, Callable[[], object]] = {
        "model-input-shape": lambda: model.set_shape("images", [1, 3, 8, 8]),
        "model-non-finite": lambda: require_finite(model),
        "model-upgrade": lambda: qdsl.graph.upgrade_opset(model, 13),
        "model-write": lambda: qdsl.graph.save(model, path / "model.onnx"),
    }
    if code in steps:
        steps[code]()
    raise QdslError(model.diagnostics)


def _raised(code: str, folder: Path, span: Span | None = None) -> tuple[Diagnostic, ...]:
    CASES[CODES[code].setup](folder / "model.onnx")
    with pytest.raises(QdslError) as caught:
        _after_loading(code, folder / "model.onnx", span)
    return caught.value.diagnostics


@pytest.mark.parametrize("code", sorted(CODES))
def test_the_example_of_a_code_raises_it(code: str, tmp_path: Path) -> None:
    found = _raised(code, tmp_path)
    assert code in [diagnostic.code for diagnostic in found]
    assert not [diagnostic for diagnostic in found if diagnostic.code not in CODES]


@pytest.mark.parametrize("code", sorted(CODES))
def test_what_is_wrong_with_a_model_stands_where_it_is_named(code: str, tmp_path: Path) -> None:
    places = {found.code: found.span for found in _raised(code, tmp_path, LINE)}
    assert places.pop("model-write", None) is None, "what cannot be written has nothing to do with the model's line"
    assert set(places.values()) <= {LINE}


def test_whatever_becomes_of_a_model_it_keeps_its_place(tmp_path: Path) -> None:
    save(conv_model(), tmp_path / "model.onnx")
    model = qdsl.graph.load(tmp_path / "model.onnx", span=LINE)
    assert qdsl.graph.upgrade_opset(model, 18).span == LINE
    assert model.copy().span == LINE
    model.become(qdsl.graph.from_proto(conv_model()))
    assert model.span == LINE


def test_messages_read_well(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    lines = []
    for i, code in enumerate(sorted(CODES)):
        folder = tmp_path / str(i)
        folder.mkdir()
        lines += [one_line(diagnostic) for diagnostic in _raised(code, folder) if diagnostic.code == code]
    assert not [line for line in lines if str(tmp_path) in line], "no absolute path in a message"
    golden("passes/graph_diagnostics.txt", "\n".join(lines))


def test_every_case_belongs_to_a_code() -> None:
    assert set(CASES) == {doc.setup for doc in CODES.values()}
    assert all(doc.summary and doc.explanation and 'model onnx "model.onnx"' in doc.example for doc in CODES.values())


def test_several_faults_are_told_at_once(tmp_path: Path) -> None:
    proto = conv_model()
    proto.graph.initializer[0].raw_data = b"1234"
    proto.graph.node[1].input[0] = "nowhere"
    with pytest.raises(QdslError) as caught:
        qdsl.graph.from_proto(proto)
    assert {d.code for d in caught.value.diagnostics} == {"model-tensor-size", "model-dangling"}
