"""Goldens of lowerings: graphs in ONNX's text form, what becomes of each, and that both compute the same.

A golden holds its own cases. To add one, write `== title` and a graph into `goldens/lowerings/<name>.txt`; `--regen`
puts below it what the lowering makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from conftest import GOLDENS
from graph_cases import parse

from qdsl.capability import load
from qdsl.graph import Model, from_proto, to_bytes, to_proto
from qdsl.passes.index import make
from qdsl.passes.lowering import Lowering
from qdsl.rewrite import Outcome, run
from qdsl.rewrite.sketch import Sketch
from qdsl.targets.lowerings import of_graphs

TABLE = load("ort_cpu")


def cases(name: str) -> Iterator[tuple[str, str]]:
    """The title of each case, and its graph as it stands there."""
    path = GOLDENS / "lowerings" / f"{name}.txt"
    assert path.exists(), f"no golden for {name}: write cases into {path.relative_to(GOLDENS.parent)}"
    for block in path.read_text(encoding="utf-8").split("== ")[1:]:
        title, _, rest = block.partition("\n")
        yield title, rest.partition("\n-> ")[0].partition("\nrefused ")[0].strip()


def lowered(name: str, model: Model) -> Outcome:
    """What the lowering does to `model`, and foresaw."""
    one = make(name)
    assert isinstance(one, Lowering)
    foreseen = one.foresees(Sketch(model.view()), TABLE).outcome
    done = run([one], model).steps[0].outcome
    assert foreseen == done
    return done


def outputs(model: Model) -> list[np.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(to_bytes(model), options, providers=["CPUExecutionProvider"])
    drawn = np.random.default_rng(5)
    feeds = {i.name: drawn.uniform(-4, 4, i.shape).astype(np.float32) for i in session.get_inputs()}
    return list(session.run(None, feeds))


@pytest.mark.parametrize("name", [*of_graphs("ort"), "pair_weights"])
def test_goldens(name: str, golden: Callable[[str, str], None]) -> None:
    parts, fired = [], []
    for title, text in cases(name):
        before = from_proto(parse(text))
        after = before.copy()
        outcome = lowered(name, after)
        onnx.checker.check_model(to_proto(after), full_check=True)
        for was, now in zip(outputs(before), outputs(after), strict=True):
            np.testing.assert_allclose(now, was, rtol=1e-5, atol=1e-6, err_msg=title)
        made = onnx.printer.to_text(to_proto(after).graph)
        refused = [f"refused {one.node}: {one.reason}" for one in outcome.refused]
        parts += [f"== {title}", text, *refused, f"-> {made}" if outcome.fired else "-> unchanged", ""]
        fired.append(bool(outcome.fired))
    assert {True, False} <= set(fired), "a case in which it fires, and one in which it does not"
    golden(f"lowerings/{name}.txt", "\n".join(parts))
