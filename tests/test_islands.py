"""Float islands between integers: how many a plan counts, and what it says that each of them moves."""

from __future__ import annotations

from plan_tools import decided, planned
from structure_graphs import Net

from qdsl.describe.explain import explain
from qdsl.describe.render import render
from qdsl.graph.view import GraphView
from qdsl.spec.plan import Island


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


def sized(*channels: int) -> GraphView:
    """A Softplus between two convolutions for each number of channels, on maps of 8 x 8."""
    net = Net()
    x, inside = net.input("x", 1, 3, 8, 8), 3
    for at, out in enumerate(channels):
        x = net.op("Softplus", net.conv(x, out, name=f"conv{at}", inside=inside), name=f"soft{at}")
        inside = out
    return net.view(net.conv(x, 4, name="last", inside=inside))


def test_each_island_has_its_cost() -> None:
    """64 values a channel, in and out, 5 bytes each."""
    first, second = planned(sized(4, 8)).islands
    assert first == Island(("soft0",), first.enter, first.leave, 2 * 64 * 4 * 5, True)
    assert (second.nodes, second.moved) == (("soft1",), 2 * 64 * 8 * 5)
    assert len(first.enter) == len(first.leave) == 1


def test_the_plan_lists_the_worst_first() -> None:
    text = render(planned(sized(4, 16, 8))).splitlines()
    assert [line for line in text if "island:" in line] == [
        "  island: soft1 (Softplus): 10.0 KiB",
        "  island: soft2 (Softplus): 5.0 KiB",
        "  island: soft0 (Softplus): 2.5 KiB",
    ]


def test_the_list_is_bounded() -> None:
    text = render(planned(sized(*[4] * 7, 8))).splitlines()
    assert sum("island:" in line for line in text) == 5
    assert "  and 3 more: 7.5 KiB" in text


def test_explain_says_what_an_island_costs() -> None:
    (step,) = (s for s in explain(decided(between("Softplus", "Neg")), "op1").steps if s.what == "island")
    assert step.value == "with op0, float between integers: Q and DQ move 2.5 KiB a sample"
    assert str(step.origin) == "ort_cpu.toml, row float_arithmetic"
    assert not any(s.what == "island" for s in explain(decided(between("Softplus")), "first").steps)


def test_what_is_not_known_is_said() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, "height", 8), 4, name="first")
    view = net.view(net.conv(net.op("Softplus", x, name="soft"), 4, name="last", inside=4))
    (island,) = planned(view).islands
    assert (island.moved, island.known) == (0, False)
    assert "  island: soft (Softplus): how much it moves is not known" in render(planned(view)).splitlines()


def test_a_free_batch_is_one_sample() -> None:
    net = Net()
    x = net.conv(net.input("x", "batch", 3, 8, 8), 4, name="first")
    view = net.view(net.conv(net.op("Softplus", x, name="soft"), 4, name="last", inside=4))
    (island,) = planned(view).islands
    assert (island.moved, island.known) == (2 * 64 * 4 * 5, True)
