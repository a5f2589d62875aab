"""Weights in a form that runs slowly are told, with the form to write."""

from __future__ import annotations

from importlib import resources

import pytest
from plan_tools import HEAD, decided
from structure_graphs import Net

from qdsl.capability import TableError, loads
from qdsl.graph.view import GraphView
from qdsl.spec.plan import Flag


def narrow_and_wide() -> GraphView:
    net = Net()
    x = net.conv(net.input("x", 1, 8, 8, 8), 8, kernel=3, group=8, name="narrow")
    return net.view(net.conv(x, 8, kernel=1, name="wide"))


def told(rules: str = "", weights: str = "int8 symmetric per_channel") -> tuple[Flag, ...]:
    head = HEAD.replace("int8 symmetric per_channel", weights)
    return tuple(
        flag for flag in decided(narrow_and_wide(), rules, head=head).plan.flags if flag.code == "slow-weights"
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_zero_point_per_channel_is_slow_where_one_channel_is_read(dtype: str) -> None:
    (flag,) = told(weights=f"{dtype} affine per_channel")
    assert flag.nodes == ("narrow",)
    assert flag.help == ("layers depthwise { weights int8 symmetric per_channel }",)
    assert not told(flag.help[0] + "\n", weights=f"{dtype} affine per_channel")


@pytest.mark.parametrize(
    "form", ["int8 symmetric per_channel", "uint8 affine per_tensor", "uint8 symmetric per_channel"]
)
def test_zero_points_that_are_alike_are_not(form: str) -> None:
    assert not told(weights=form)


def test_what_is_only_stored_is_computed_in_float_anyway() -> None:
    assert not told("layers depthwise { weights int8 affine per_channel storage_only; activations float32 }\n")


def test_a_row_without_kernels_is_refused() -> None:
    text = (resources.files("qdsl.capability") / "ort_cpu.toml").read_text(encoding="utf-8")
    named = 'name = "depthwise_zero_points"\nkernels = ["QLinearConv"]'
    assert named in text
    with pytest.raises(TableError, match=r"slow\[.*\].kernels: expected at least 1, found 0"):
        loads(text.replace(named, named.replace('["QLinearConv"]', "[]")), "other")
