"""Where a target's alternatives apply, what the ranges decide, and what a table may say."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_tools import HEAD, branches, decided, residual
from structure_graphs import Net

from qdsl.capability import TableError, load, loads
from qdsl.describe.render import render
from qdsl.diag import Diagnostics
from qdsl.graph.view import GraphView
from qdsl.lang import loads as recipe_of
from qdsl.plan import decide
from qdsl.spec.plan import Choice, Origin
from qdsl.spec.plan_json import from_json, to_json
from qdsl.tune.alternatives import candidates, settled_by_ranges, still_open, without_losses


def regions(view: GraphView, rules: str = "", name: str = "stem_float") -> list[tuple[str, ...]]:
    found = candidates(decided(view, rules))
    return [region for c in found if c.alternative.name == name for region in c.regions]


def joined() -> GraphView:
    """x -> a, b, c; cat1(a, b) -> d; cat2(b, c, d) -> output: b has two readers."""
    net = Net()
    x = net.input("x", 1, 3, 8, 8)
    a, b, c = (net.conv(x, 4, name=name) for name in "abc")
    d = net.conv(net.op("Concat", a, b, name="cat1", axis=1), 4, name="d")
    return net.view(net.conv(net.op("Concat", b, c, d, name="cat2", axis=1), 4, name="last"))


JOINED = joined()
RECIPE = recipe_of(HEAD, name="demo.q").recipe


def settled(view: GraphView, rules: str = "", **highs: float) -> list[tuple[str, ...]]:
    """The nodes that get one scale when the named convolutions reach so far (others: 1)."""
    made = decided(view, rules)
    low = {plan.tensor: 0.0 for plan in made.plan.tensors}
    high = {t: highs.get(writer.name if (writer := view.producer(t)) else "", 1.0) for t in low}
    return [choice.nodes for choice in settled_by_ranges(made, low, high)]


def test_a_stem_grows_node_by_node_with_what_follows() -> None:
    assert regions(residual()) == [("conv1", "relu1"), ("conv2",), ("conv3",)]


def test_a_rule_on_a_node_leaves_no_alternative_there() -> None:
    assert regions(residual(), 'keep "conv1" in float32\n')[0][0] == "conv2"
    assert regions(residual(), 'layers "conv1" { weights int8 per_tensor }\n')[0][0] == "conv2"
    assert regions(residual(), 'layers "conv1" { calibrate minmax on calib }\n')[0][0] == "conv1"


def test_a_chosen_node_computes_in_float_and_says_why() -> None:
    choice = Choice("stem_float", ("conv1", "relu1"), "1.2x", Origin("tune latency: stem_float", "demo.q", 12))
    recipe = recipe_of(HEAD, name="demo.q").recipe
    made = decide(recipe, residual(), "ort", float_bytes=1, diags=Diagnostics(), choices=(choice,))
    (node,) = (node for node in made.plan.nodes if node.node == "conv1")
    assert (node.mark, node.note, node.origin.line) == ("=", "float32", 12)
    assert "1.2x" in node.origin.rule
    assert not [weight for weight in made.plan.weights if weight.node == "conv1"]
    assert "tuned: stem_float at conv1 and 1 more: 1.2x   line 12" in render(made.plan)
    assert "0 nodes float by request, 2 by tuning, " in render(made.plan)
    assert from_json(to_json(made.plan)) == made.plan


def test_ranges_of_one_reader_are_free() -> None:
    """a is read by cat1 alone: rounding it to the scale of b costs nothing. b is read by cat2 as well."""
    view = joined()
    assert settled(view) == [("cat1",), ("cat2",)]
    assert ("cat1",) in settled(view, a=0.01)
    assert ("cat1",) not in settled(view, b=0.5, a=1.0)
    assert ("cat1",) in settled(view, b=0.95, a=1.0)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "cat1", "cat2"]), st.floats(0.01, 10), min_size=6))
def test_what_others_read_keeps_its_steps(highs: dict[str, float]) -> None:
    """Over all choices together, not one by one: against its own scale, each group that anything but a sharing Concat
    reads keeps nine tenths of its steps."""
    view = JOINED
    made = decided(view)
    low = {plan.tensor: 0.0 for plan in made.plan.tensors}
    high = {t: highs.get(writer.name if (writer := view.producer(t)) else "", 1.0) for t in low}
    choices = settled_by_ranges(made, low, high)
    after = decide(RECIPE, view, "ort", float_bytes=1, diags=Diagnostics(), choices=choices).plan
    width: dict[str, float] = {}
    for plan in after.tensors:
        width[plan.group] = max(width.get(plan.group, 0.0), high[plan.tensor])
    sharing = {name for choice in choices for name in choice.nodes}
    for plan in after.tensors:
        if any(reader.node not in sharing for reader in plan.readers):
            assert high[plan.tensor] >= 0.9 * width[plan.group] - 1e-9


def test_a_range_by_request_stays() -> None:
    assert ("cat1",) not in settled(joined(), "place { share scale across inputs of op Concat }\n")
    assert ("cat1",) not in settled(joined(), 'place { leave tensor "a_out" }\n')


def test_joining_carries_over_to_the_next_node() -> None:
    """Once cat1 shares, its whole group counts at cat2: a wide tensor there would cost b and a steps."""
    assert ("cat2",) not in settled(joined(), c=100.0)


def test_shared_groups_are_one_in_the_plan() -> None:
    view = joined()
    made = decided(view)
    low = {plan.tensor: 0.0 for plan in made.plan.tensors}
    high = dict.fromkeys(low, 1.0)
    recipe = recipe_of(HEAD, name="demo.q").recipe
    choices = settled_by_ranges(made, low, high)
    after = decide(recipe, view, "ort", float_bytes=1, diags=Diagnostics(), choices=choices).plan
    groups = {plan.tensor: plan.group for plan in after.tensors}
    around = [*view.node("cat1").inputs, *view.node("cat1").outputs]
    assert len({groups[tensor] for tensor in around}) == 1
    assert replace(after, choices=()).tensors != made.plan.tensors


def dense(activation: str) -> GraphView:
    """Two joints; the first ends in an activation that is joined again beside values below 0."""
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 4, name="a")
    joint = net.op("Concat", net.op("Sigmoid", x), x, name="cat1", axis=1)
    bounds = [net.values([0.0]), net.values([6.0])] if activation == "Clip" else []
    again = net.op(activation, joint, *bounds, name="act")
    free = net.op("Concat", net.conv(x, 4, name="b"), net.conv(x, 4, name="c"), name="cat3", axis=1)
    return net.view(net.conv(net.op("Concat", again, x, name="cat2", axis=1), 4, name="d", inside=12), free)


@pytest.mark.parametrize("activation", ["Relu", "Clip"])
def test_one_scale_that_would_part_an_activation_from_its_kernel_is_not_taken(activation: str) -> None:
    """Its result would need a range that nobody measured. What has nothing to do with it stays."""
    view = dense(activation)
    before = decided(view)
    assert before.predictions["act"].runs == "absorbed"
    low = {plan.tensor: -1.0 for plan in before.plan.tensors}
    shares = settled_by_ranges(before, low, dict.fromkeys(low, 1.0))
    assert {("cat2",), ("cat3",)} <= {choice.nodes for choice in shares}
    after = decide(RECIPE, view, "ort", float_bytes=1, diags=Diagnostics(), choices=shares)
    assert after.predictions["act"].runs == "float"
    kept = without_losses(before, after, shares)
    assert ("cat2",) not in {choice.nodes for choice in kept} and ("cat3",) in {choice.nodes for choice in kept}
    good = decide(RECIPE, view, "ort", float_bytes=1, diags=Diagnostics(), choices=kept)
    assert without_losses(before, good, kept) == kept
    assert {plan.tensor for plan in good.plan.tensors} <= low.keys()


def test_what_is_open_is_told_with_its_bounds() -> None:
    told = still_open(decided(joined()), 12)
    assert "concat_common_scale: at up to 2 nodes, where every range keeps 90 % of its steps" in told
    assert any(text.startswith("stem_float: ") and "3 of 12 trials" in text for text in told)
    assert not any("trials" in text for text in still_open(decided(joined()), 0))


def test_other_modes_have_none() -> None:
    head = HEAD.replace("static", "float").replace("  activations uint8 affine per_tensor\n", "")
    for line in ("  calibrate minmax on calib\n", "  weights int8 symmetric per_channel\n"):
        head = head.replace(line, "")
    assert candidates(decided(branches(), "layers op Gemm { weights int8 }\n", head=head)) == ()


ROW = """
[[alternative]]
name = "mine"
edit = "share"
ops = ["Concat"]
because = "b"
evidence = "e"
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('edit = "share"', 'edit = "melt"', r"alternative\[mine\].edit: expected one of float, share, found 'melt'"),
        ('ops = ["Concat"]', "ops = []", "ops: expected at least 1, found 0"),
        ('edit = "share"', 'edit = "float"\ndecided_by = "ranges"', "only a `share`"),
        ('because = "b"\n', "", "the key `because` is missing"),
        (
            'because = "b"',
            'because = "b"\nkeeps_steps = 101',
            "keeps_steps: expected a whole number from 1 to 100, found 101",
        ),
        ('because = "b"', 'because = "b"\nwhatever = 1', "unknown key `whatever`"),
    ],
)
def test_a_broken_row_is_refused(old: str, new: str, told: str) -> None:
    from importlib import resources

    text = (resources.files("qdsl.capability") / "ort_cpu.toml").read_text(encoding="utf-8")
    assert loads(text + ROW, "mine").alternatives[-1].name == "mine"
    with pytest.raises(TableError, match=told):
        loads(text + ROW.replace(old, new), "mine")


def test_rows_say_why_and_how_we_know() -> None:
    for row in load("ort_cpu").alternatives:
        assert row.because and row.evidence
