"""Budgets on what widths come to: the bits of activations, and bit operations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project, residual_net
from dynamic_tools import dynamic_head
from plan_tools import decided as planned
from structure_graphs import Net

import qdsl
from qdsl.predict.bits import Bits, bit_operations, bits
from qdsl.work.deciding import decide_one
from qdsl.work.prepared import prepare, read

MACS = 4 * 3 * 9 * 64 + 4 * 4 * 9 * 64 + 2 * 4 * 4 * 64 + 5 * 8  # of the residual net
TENSORRT = HEAD.replace("uint8 affine", "int8 symmetric").replace("target ort", "target tensorrt")
STM32 = HEAD.replace("uint8", "int8").replace("target ort", "target stm32")
REQUIRES = f"evaluate fidelity on calib {{ require activation_bits <= 8; require bops <= {64 * MACS} }}\n"


def told(recipe: Path) -> list[tuple[str, str, int]]:
    """Codes, headlines and lines of what `plan` says of budgets."""
    found = qdsl.plan(recipe).diagnostics
    told = (each for each in found if each.code in ("undecided", "budget-broken"))
    return [(each.code, each.headline, each.span.line if each.span else 0) for each in told]


def decided(recipe: Path) -> dict[str, tuple[str, float | None, str]]:
    result = qdsl.compile(recipe, out=recipe.parent / "build", measure=False)
    assert not any(each.code == "undecided" for each in result.diagnostics)
    return {each.text: (each.verdict, each.value, each.source) for each in result.targets[0].budgets}


@pytest.mark.parametrize(
    ("head", "source"),
    [
        (HEAD, "predicted, and verified"),
        (TENSORRT, "by the plan, not verified"),
        pytest.param(STM32, "predicted, and verified", marks=pytest.mark.slow),
    ],
    ids=["ort", "tensorrt", "stm32"],
)
def test_each_target_decides_them(tmp_path: Path, head: str, source: str) -> None:
    recipe = project(tmp_path, REQUIRES, head=head)
    assert told(recipe) == []
    assert decided(recipe) == {
        "activation_bits <= 8": ("holds", 8.0, source),
        f"bops <= {64 * MACS}": ("holds", 64.0 * MACS, source),
    }
    written = json.loads((tmp_path / "build" / "demo" / "measurements.json").read_text())["builds"]
    (build,) = written.values()
    assert (build["activation_bits"], build["bops"]) == (8.0, 64 * MACS)


def test_a_bound_that_widths_break_is_told_by_plan_and_compile(tmp_path: Path) -> None:
    head = HEAD.replace("target ort", "target ort { require activation_bits < 8; require bops ratio <= 6 % }")
    recipe = project(tmp_path, head=head)
    line = head[: head.index("require")].count("\n") + 1
    headlines = ["`activation_bits < 8` is broken on ort: 8", "`bops ratio <= 6 %` is broken on ort: 6.25 %"]
    assert told(recipe) == [("budget-broken", headline, line) for headline in headlines]
    result = qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    assert [each.headline for each in result.diagnostics if each.code == "budget-broken"] == headlines
    assert not result.holds
    cures = [each.help for each in result.diagnostics if each.code == "budget-broken"]
    assert cures[0] == qdsl.plan(recipe).diagnostics[0].help
    assert "minimize loss under activation_bits < 8" in cures[0][0]
    # What is advised is what keeps to it.
    one = head.replace("activation_bits < 8; require ", "")
    own = project(tmp_path / "own", cures[1][0].split("`")[1] + "\n", head=one)
    assert told(own) == []  # nothing has chosen yet
    assert qdsl.compile(own, out=tmp_path / "own" / "build", measure=False).holds
    assert told(own) == []  # the lock has chosen


def test_the_same_build_is_held_against_new_bounds(tmp_path: Path) -> None:
    recipe = project(tmp_path, REQUIRES)
    qdsl.compile(recipe, out=tmp_path / "build", measure=False)
    recipe.write_text(recipe.read_text().replace("activation_bits <= 8", "activation_bits <= 7"))
    found = qdsl.evaluate(recipe, out=tmp_path / "build").budgets["ort"]
    assert [(each.text, each.verdict) for each in found] == [
        ("activation_bits <= 7", "broken"),
        (f"bops <= {64 * MACS}", "holds"),
    ]


def test_what_stays_in_float_counts_32_bits_each(tmp_path: Path) -> None:
    rules = 'keep "stem" in float32\n' + REQUIRES
    prepared = prepare(read(project(tmp_path, rules), {}))
    made = decide_one(prepared, "ort")
    stem = 4 * 3 * 9 * 64
    exact = 64 * (MACS - stem) + 1024 * stem
    assert bit_operations(made.plan, made.context.view) == exact
    # As it runs: what was to be integers and is not counts as floats do.
    gemm = 1024 * 40 - 64 * 40
    assert bit_operations(made.plan, made.context.view, {"gemm"}) == exact + gemm


def test_dynamic_widths_are_those_that_kernels_read() -> None:
    net = Net()
    x = net.conv(net.input("x", 1, 3, 8, 8), 64, kernel=3, name="stem")
    y = net.conv(net.conv(x, 64, name="inner"), 64, kernel=3, group=64, name="depthwise")
    made = planned(net.view(y), head=dynamic_head("weights 8 bit; activations uint8"))
    macs = {each.node: each.macs or 0 for each in made.plan.nodes}
    assert [each.node for each in made.plan.nodes if each.in_integers] == ["inner"]
    exact = 1024 * (macs["stem"] + macs["depthwise"]) + 64 * macs["inner"]
    assert bits(made.plan, made.context.view, made.context.folded) == Bits(8.0, exact)


def test_without_shapes_nothing_is_decided(tmp_path: Path) -> None:
    proto = residual_net()
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    recipe = project(tmp_path, REQUIRES, proto=proto)
    draw = np.random.default_rng(1).standard_normal((6, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", x=draw)
    assert [code for code, _, _ in told(recipe)] == ["undecided"] * 2
    assert {verdict for verdict, _, _ in decided(recipe).values()} == {"undecided"}


def test_a_file_as_it_is_has_no_planned_widths(tmp_path: Path) -> None:
    head = HEAD[: HEAD.index("quantize")] + "quantize none\ntarget ort\n"
    recipe = project(tmp_path, REQUIRES, head=head)
    assert {verdict for verdict, _, _ in decided(recipe).values()} == {"undecided"}
