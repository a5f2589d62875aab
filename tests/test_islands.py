"""Float islands between integers: how many a plan counts, and what it says that they move."""

from __future__ import annotations

from plan_tools import planned
from structure_graphs import Net

from qdsl.graph.view import GraphView


def between(*ops: str, apart: bool = False) -> GraphView:
    """x -> conv -> the operators, in a row or each followed by a convolution -> conv -> output."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="first")
    for at, op in enumerate(ops):
        x = net.op(op, x, name=f"op{at}")
        if apart:
            x = net.conv(x, 4, name=f"conv{at}", inside=4)
    return net.view(net.conv(x, 4, name="last", inside=4))


def told(view: GraphView, rules: str = "") -> list[tuple[str, tuple[str, ...]]]:
    return [(flag.message, flag.nodes) for flag in planned(view, rules).flags if flag.code == "float-island"]


def test_operators_in_a_row_are_one_island() -> None:
    """256 values go in and 256 come out, 5 bytes each."""
    message = "1 float island stands between integers (Softplus, Neg): their Q and DQ move 2.5 KiB a sample"
    assert told(between("Softplus", "Neg")) == [(message, ("op0", "op1"))]


def test_each_pair_of_integers_around_floats_counts() -> None:
    ((message, nodes),) = told(between("Softplus", "Softplus", apart=True))
    assert message.startswith("2 float islands stand between integers (Softplus): their Q and DQ move 5.0 KiB")
    assert nodes == ("op0", "op1")


def test_what_runs_in_integers_or_is_kept_in_float_is_none() -> None:
    assert told(between("Relu")) == told(between("Sigmoid")) == []
    assert told(between("Softplus"), 'keep "op0" in float32\n') == []
