"""The fact that pairs stand as planned: it holds after the inserter and the lowerings, and fails for a broken one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from quantized import OUT, Measured, SmallPlan, bias, model_of, tensor, weight
from random_graphs import random_decisions, random_model

from qdsl.capability import Capability, load
from qdsl.graph import Model, from_proto
from qdsl.graph.edit import add_constant, add_node, replace_input, replace_output
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.lowering import Foresight, Lowering
from qdsl.passes.pairs import PAIRS_AS_PLANNED
from qdsl.rewrite import Changes, ContractError, Outcome, PlanFact, Rewrite, run
from qdsl.rewrite.sketch import Sketch
from qdsl.spec.opset import least_opset

TABLE = load("ort_cpu")
NET = """g (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
    [conv] a = Conv (x, w, b) [relu] r = Relu (a) [head] y = Conv (r, v) [side] z = Tanh (r) }"""
PLAN = SmallPlan(
    (tensor("x", ("conv", 0)), tensor("r", ("head", 0)), tensor("y", OUT)),
    (weight("conv", 1, "w"), weight("head", 1, "v")),
    (bias("conv", 2, "b", "x"),),
)
RANGES = Measured({"x": -1.0, "r": 0.0, "y": -3.0}, {"x": 1.0, "r": 4.0, "y": 3.0})


def _net() -> Model:
    return model_of(NET, w=(4, 3, 1, 1), b=(4,), v=(4, 4, 1, 1))


def _node(model: Model, name: str) -> object:
    return next(node for node in model.nodes() if node.name == name)


def _stored(model: Model, name: str) -> object:
    found = model.tensor(name)
    assert found is not None
    return found


def _a_reader_is_forgotten(model: Model) -> None:
    replace_input(model, _node(model, "head"), 0, _stored(model, "r"))


def _one_reads_who_should_not(model: Model) -> None:
    replace_input(model, _node(model, "side"), 0, _stored(model, "r_dequantized"))


def _the_wrong_pair_is_read(model: Model) -> None:
    replace_input(model, _node(model, "head"), 0, _stored(model, "x_dequantized"))


def _a_weight_stays_float(model: Model) -> None:
    replace_input(model, _node(model, "head"), 1, add_constant(model, "v", np.ones((4, 4, 1, 1), np.float32)))


def _integers_are_read(model: Model) -> None:
    replace_input(model, _node(model, "side"), 0, _stored(model, "r_quantized"))


def _an_output_is_quantized(model: Model) -> None:
    made = add_node(model, "Identity", [_stored(model, "r_dequantized")], name="more", output_name="more")
    pair = made.outputs[0].inputs[0].inputs[0]
    replace_input(model, made, 0, _stored(model, "r"))
    replace_output(model, _stored(model, "z"), pair)


def _an_output_stays_float(model: Model) -> None:
    replace_output(model, _stored(model, "y"), _stored(model, "y_before"))


BROKEN: dict[Callable[[Model], None], str] = {
    _a_reader_is_forgotten: "head:0 does not read r through its pair",
    _one_reads_who_should_not: "side:0 reads r_dequantized, which is not planned",
    _the_wrong_pair_is_read: "head:0 does not read r through its pair",
    _a_weight_stays_float: "head:1 does not read v through its pair",
    _integers_are_read: "side:0 reads r_quantized, which is not planned",
    _an_output_is_quantized: "the graph output z is read through a pair, which is not planned",
    _an_output_stays_float: "the graph output y is not read through its pair",
}


@dataclass(frozen=True, slots=True)
class Broken(Rewrite):
    """An inserter that does one thing wrong."""

    wrong: Callable[[Model], None]

    name: ClassVar[str] = "broken"
    ensures: ClassVar[tuple[PlanFact, ...]] = InsertQDQ.ensures

    def apply(self, model: Model) -> Outcome:
        outcome = InsertQDQ(PLAN, RANGES).apply(model)
        self.wrong(model)
        return outcome


@dataclass(frozen=True, slots=True)
class Careless(Lowering):
    """A lowering that forgets a reader of a pair, and reports `told`."""

    told: str

    name: ClassVar[str] = "careless"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        _a_reader_is_forgotten(model)
        changes.fire("careless", [self.told])
        return changes.outcome()

    def foresees(self, sketch: Sketch, capability: Capability) -> Foresight:
        return Foresight(Outcome())


@pytest.mark.parametrize("wrong", BROKEN, ids=lambda wrong: wrong.__name__.strip("_"))
def test_a_broken_inserter_is_found(wrong: Callable[[Model], None]) -> None:
    with pytest.raises(ContractError, match=f"pass broken ensures pairs_as_planned.*{BROKEN[wrong]}"):
        run([Broken(wrong)], _net(), plan=PLAN)


def test_the_inserter_itself_is_sound() -> None:
    run([InsertQDQ(PLAN, RANGES)], _net(), plan=PLAN)


def test_a_lowering_changes_what_it_reports_and_nothing_else() -> None:
    run([InsertQDQ(PLAN, RANGES), Careless("head")], _net(), plan=PLAN)
    with pytest.raises(ContractError, match="pass careless ensures pairs_as_planned"):
        run([InsertQDQ(PLAN, RANGES), Careless("side")], _net(), plan=PLAN)


def test_a_lowering_wants_a_plan_that_was_carried_out() -> None:
    with pytest.raises(ContractError, match="pass careless requires pairs_as_planned"):
        run([Careless("head")], _net(), plan=PLAN)


def test_without_a_plan_there_is_nothing_to_check() -> None:
    model = _net()
    InsertQDQ(PLAN, RANGES).apply(model)
    run([Careless("side")], model)


@pytest.mark.slow
def test_random_plans_are_carried_out_as_planned() -> None:
    carried_out = 0
    for seed in range(150):
        model = from_proto(random_model(seed))
        found = random_decisions(model.view(), TABLE, seed)
        plan = SmallPlan(found.tensors, found.weights, found.biases)
        if least_opset(plan) > model.opset or not plan.tensors:
            continue
        low, high = ({each.tensor: end for each in plan.tensors} for end in (-2.0, 3.0))
        assert list(PAIRS_AS_PLANNED.broken(model, plan, ()))
        run([InsertQDQ(plan, Measured(low, high))], model, plan=plan)
        carried_out += 1
    assert carried_out > 100
