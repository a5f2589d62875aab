"""Planning is linear in how many tensors a node joins and how many nodes read one, counted in calls, not seconds."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

import numpy as np
import pytest
from compile_tools import project
from structure_graphs import Net

import qdsl


def read_often(net: Net, x: str, count: int) -> list[str]:
    return [net.op("Sigmoid", x) for _ in range(count)]


def constants(net: Net, x: str, count: int) -> list[str]:
    return [x, *(net.constant(1, 1, 4, 4) for _ in range(count - 1))]


def again(net: Net, x: str, count: int) -> list[str]:
    return [x] * count


def convolved(net: Net, x: str, count: int) -> list[str]:
    return [net.conv(x, 1, inside=1) for _ in range(count)]


def calls(folder: Path, parts: object, count: int) -> int:
    assert callable(parts)
    net = Net()
    x = net.conv(net.input("x", 1, 3, 4, 4), 1, name="first")
    joint = net.op("Concat", *parts(net, x, count), name="joint", axis=1)
    proto = net.model(net.conv(joint, 1, inside=count, name="last"))
    for at, tensor in enumerate(proto.graph.initializer):  # no two alike, or they would be stored once
        values = np.full(tensor.dims, at + 1, np.float32)
        tensor.raw_data = values.tobytes()
    recipe = project(folder / str(count), proto=proto)
    profile = cProfile.Profile()
    profile.runcall(qdsl.plan, recipe)
    return int(pstats.Stats(profile).total_calls)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [read_often, constants, again, convolved])
def test_four_times_the_inputs_are_four_times_the_work(parts: object, tmp_path: Path) -> None:
    calls(tmp_path, parts, 8)  # what is loaded at first use
    assert calls(tmp_path, parts, 1600) < 5 * calls(tmp_path, parts, 400)
