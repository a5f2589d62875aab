"""C that computes in float32, or on what is quantized at run time, computes what the interpreter does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from c_zoo import apart, by_themselves, over_inputs
from float_mutants import DYNAMIC_MUTANTS, FLOAT_MUTANTS, TWICE_MUTANTS
from float_zoo import DynamicZoo, FloatZoo

from qdsl.integer.interpret import run as interpret
from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.dynamic_calls import pairs, with_twice
from qdsl.targets.stm32.c.records import Placed, Wish
from qdsl.targets.stm32.c.writing import KERNELS, CFiles, write_c

CC = host.compiler()
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this computer")
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
SANE = pytest.param(("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"), marks=pytest.mark.slow)
FLOATS = 1e-5  # of the largest value


def off(files: CFiles, graph: IntegerGraph, sample: dict[str, np.ndarray], more: tuple[str, ...]) -> dict[str, float]:
    """How far each tensor that the C writes is from the interpreter's, of the largest value of that."""
    program = files.folder / "host"
    host.build(files.folder, program, cc=str(CC), more=more, trace=True)
    ran = host.run(program, graph, [sample], files.steps)
    expected = interpret(graph, sample, every=True)
    found = {}
    for name, array in {**ran.steps[0], **ran.outputs[0]}.items():
        want, got = expected[name].astype(np.float64), array.astype(np.float64)
        assert np.isfinite(want).all()
        found[name] = float(np.abs(want - got).max() / (np.abs(want).max() or 1))
    return found


def wholly(graph: IntegerGraph, wish: Wish, twice: bool) -> Placed:
    """Every tensor somewhere of its own; with all that may run twice."""
    ops = with_twice(graph.ops, tuple(pairs(graph))) if twice else graph.ops
    return apart(graph, tuple(call_of(op, graph, wish) for op in ops))


@pytest.mark.parametrize("more", [("-O0",), SANE])
def test_floats_are_within_their_tolerance(more: tuple[str, ...], tmp_path: Path) -> None:
    zoo = FloatZoo(3).all()
    graph = zoo.graph()
    files = write_c(graph, wholly(graph, Wish(), twice=False), tmp_path)
    found = off(files, graph, zoo.sample(), (*STRICT, *more))
    assert len(found) == len(graph.ops)
    assert [op.node for op in graph.ops if not found[op.output] <= FLOATS] == []


@pytest.mark.slow
@pytest.mark.parametrize(("wish", "seed"), [(Wish("speed"), 5), (Wish("ram"), 6)])
@pytest.mark.parametrize("more", [("-O0",), SANE])
def test_what_is_quantized_at_run_time_is_exact(wish: Wish, seed: int, more: tuple[str, ...], tmp_path: Path) -> None:
    """As operators by themselves, and with layers that run twice: the same codes of the same ranges."""
    zoo = DynamicZoo(seed).all()
    graph, sample = zoo.graph(), zoo.sample()
    assert {op.function is None for op, _ in pairs(graph)} == {True, False} and len(list(pairs(graph))) == 11
    for twice in (False, True):
        files = write_c(graph, wholly(graph, wish, twice), tmp_path / str(twice))
        found = off(files, graph, sample, (*STRICT, *more))
        assert [name for name, far in found.items() if far] == []
        assert sum(kernel.endswith("_twice") for step in files.steps for kernel in step.kernels) == 11 * twice


@pytest.mark.slow
@pytest.mark.parametrize("twice", [False, True])
def test_outputs_lie_over_inputs_as_far_behind_as_told(twice: bool, tmp_path: Path) -> None:
    """Each operator alone, with what it reads given: floats, and of what is quantized at run time all or none twice."""
    zoo = DynamicZoo(7).all()
    if not twice:
        zoo.float_sums()
        zoo.float_values()
        zoo.float_pools()
    graph = zoo.graph()
    expected = interpret(graph, zoo.sample(), every=True)
    ops = with_twice(graph.ops, tuple(pairs(graph))) if twice else graph.ops
    alone, values = by_themselves(replace(graph, ops=ops), expected)
    calls = tuple(call_of(op, alone, Wish()) for op in alone.ops)
    assert sum(distance is not None and distance > 0 for call in calls for distance in call.behind) >= 10
    files = write_c(alone, over_inputs(alone, calls, closer=False), tmp_path)
    program = tmp_path / "host"
    host.build(tmp_path, program, cc=str(CC), more=("-O0",), trace=True)
    (steps,) = host.run(program, alone, [values], files.steps).steps
    assert len(steps) == len(calls)
    for name, array in steps.items():
        assert np.abs(array.astype(np.float64) - expected[name]).max() <= FLOATS * np.abs(expected[name]).max(), name


@pytest.mark.slow
@pytest.mark.parametrize("mutants", [FLOAT_MUTANTS, DYNAMIC_MUTANTS, TWICE_MUTANTS], ids=["float", "dynamic", "twice"])
def test_a_mistake_in_any_kernel_shows(mutants: tuple[tuple[str, str, str, str], ...], tmp_path: Path) -> None:
    zoo = FloatZoo(3).all() if mutants is FLOAT_MUTANTS else DynamicZoo(5).all()
    graph, sample = zoo.graph(), zoo.sample()
    files = write_c(graph, wholly(graph, Wish(), twice=mutants is TWICE_MUTANTS), tmp_path)
    kernels = tmp_path / "kernels.h"
    text = kernels.read_text(encoding="ascii")
    unseen = []
    for file, old, new, kinds in mutants:
        source = (KERNELS / file).read_text(encoding="ascii")
        assert old in source and source in text, (file, old)
        kernels.write_text(text.replace(source, source.replace(old, new)), encoding="ascii")
        found = off(files, graph, sample, ("-O0",))
        shown = {type(op).__name__ for op in graph.ops if not found.get(op.output, 0) <= FLOATS}
        if not set(kinds.split()) <= shown:
            unseen.append((file, old, new, kinds, shown))
    assert not unseen, "\n".join(map(str, unseen))
