"""Activation memory: what lives at the same time, by hand and against a slow count of every step."""

from __future__ import annotations

from typing import Any

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdsl.graph import from_proto
from qdsl.graph.liveness import peak_activations
from qdsl.graph.view import GraphView


def view_of(text: str) -> GraphView:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> {text}')
    return from_proto(proto).view()


CHAIN = "net (float[1, 100] x) => (float[1, 100] y) { a = Relu (x) b = Relu (a) y = Relu (b) }"
BRANCH = "net (float[1, 100] x) => (float[1, 100] y) { a = Relu (x) b = Relu (a) c = Relu (b) y = Add (a, c) }"
FLAT = "net (float[2, 50] x) => (float[1, 100] y) <int64[2] to = {1, 100}> { a = Reshape (x, to) y = Relu (a) }"


@pytest.mark.parametrize(
    ("text", "settings", "values"),
    [
        (CHAIN, {}, 2 * 400),
        (CHAIN, {"bits": {"a": 8, "b": 8}}, 400 + 100),
        (CHAIN, {"fused": ["n0"]}, 2 * 400),
        (BRANCH, {}, 3 * 400),
        (BRANCH, {"bits": {"a": 4, "b": 4, "c": 4}}, 50 + 50 + 400),
        (FLAT, {}, 2 * 400),
    ],
)
def test_what_lives_together_counts(text: str, settings: dict[str, Any], values: int) -> None:
    assert peak_activations(view_of(text), **settings) == values


def test_an_unknown_shape_is_not_guessed() -> None:
    assert peak_activations(view_of("net (float[1, N] x) => (float[1, N] y) { y = Relu (x) }")) is None


def test_a_free_batch_is_one_sample() -> None:
    assert peak_activations(view_of("net (float[N, 4] x) => (float[N, 4] y) { y = Relu (x) }")) == 2 * 16


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_every_step_counted_by_itself_gives_the_same(pairs: list[tuple[int, int]]) -> None:
    """A graph of Adds of earlier values; a value lives from the node that writes it to the last that reads it."""
    names = ["x"]
    reads: list[tuple[str, str]] = []
    for at, (left, right) in enumerate(pairs):
        reads.append((names[left % len(names)], names[right % len(names)]))
        names.append(f"v{at}")
    body = " ".join(f"v{at} = Add ({a}, {b})" for at, (a, b) in enumerate(reads))
    last = names[-1]
    found = peak_activations(view_of(f"net (float[10] x) => (float[10] {last}) {{ {body} }}"))
    most = 1  # x, before anything runs
    for at in range(len(reads)):
        live = {f"v{at}", *reads[at], *([last] if at == len(reads) - 1 else [])}
        live |= {name for name in names[: at + 1] if any(name in pair for pair in reads[at:])}
        # what nobody reads lives while it is written
        most = max(most, len(live))
    assert found == 40 * most
