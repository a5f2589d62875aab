"""docs/passes.md says what the code does: its table is the pipeline, its example is a pass."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
from graph_cases import parse

import qdsl.graph
from qdsl.passes.pipeline import CANONICAL
from qdsl.rewrite import Rewrite, run

PAGE = (Path(__file__).parent.parent / "docs" / "passes.md").read_text(encoding="utf-8")


def test_the_table_is_the_pipeline() -> None:
    assert tuple(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == CANONICAL


def test_the_example_is_a_working_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert code is not None
    module = types.ModuleType("example_pass")
    monkeypatch.setitem(sys.modules, "example_pass", module)
    exec(code.group(1), module.__dict__)
    example = module.AbsOfRelu()
    assert isinstance(example, Rewrite) and str(example) == "abs_of_relu"
    model = qdsl.graph.from_proto(parse("g (float[2] x) => (float[2] y) { a = Relu (x) y = Abs (a) }"))
    assert run([example], model).counts == {"abs_of_relu": 1}
    assert [(node.op, node.outputs) for node in model.view().nodes] == [("Relu", ("y",))]
