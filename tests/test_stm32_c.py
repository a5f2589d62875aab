"""The C of an integer graph computes what the interpreter computes, to the bit, on this computer."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from c_mutants import MUTANTS
from c_zoo import Zoo, by_themselves, over_inputs, placed
from float_mutants import DYNAMIC_MUTANTS, FLOAT_MUTANTS
from integer_models import Net, crack_model, crack_pictures
from kernel_tools import FILES

from qdsl.integer import records as r
from qdsl.integer.interpret import run as interpret
from qdsl.integer.layout import stored
from qdsl.integer.lower import lower
from qdsl.integer.records import IntegerGraph
from qdsl.integer.rounding import Rounding
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.records import Placed, Step, Wish
from qdsl.targets.stm32.c.writing import KERNELS, CFiles, write_c
from qdsl.targets.stm32.memory.place import place
from qdsl.targets.stm32.memory.planning import plan

Arrays = dict[str, np.ndarray]
CC = host.compiler()
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler on this computer")
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
CHECKED = (*STRICT, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def planned(graph: IntegerGraph, wish: Wish) -> Placed:
    return plan(graph, [call_of(op, graph, wish) for op in graph.ops], wish)


def differing(
    files: CFiles, graph: IntegerGraph, samples: list[Arrays], more: tuple[str, ...], rounding: Rounding = "ort"
) -> set[str]:
    """The tensors that the C computes otherwise than the interpreter, for some sample: outputs and what steps write."""
    program = files.folder / "host"
    host.build(files.folder, program, cc=str(CC), more=more, trace=True)
    ran = host.run(program, graph, samples, files.steps)
    found = set()
    for sample, outputs, steps in zip(samples, ran.outputs, ran.steps, strict=True):
        expected = interpret(graph, sample, every=True, rounding=rounding)
        seen = [*steps.items(), *outputs.items()]
        found |= {name for name, array in seen if array.tobytes() != expected[name].tobytes()}
    return found


def wrong_nodes(graph: IntegerGraph, wrong: set[str]) -> list[str]:
    return [op.node for op in graph.ops if op.output in wrong]


@pytest.mark.parametrize("rounding", ["ort", "tflite"])
def test_every_operator_computes_what_the_interpreter_computes(rounding: Rounding, tmp_path: Path) -> None:
    zoo = Zoo(1).all()
    graph = zoo.graph()
    files = write_c(graph, placed(graph, Wish("speed", rounding)), tmp_path)
    assert wrong_nodes(graph, differing(files, graph, [zoo.sample() for _ in range(3)], STRICT, rounding)) == []
    assert len(files.steps) == len(graph.ops)


@pytest.mark.slow
@pytest.mark.parametrize("wish", [Wish("speed"), Wish("ram"), Wish("ram", "tflite")])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_no_access_is_out_of_bounds_and_nothing_undefined(seed: int, wish: Wish, tmp_path: Path) -> None:
    zoo = Zoo(seed).all()
    graph = zoo.graph()
    files = write_c(graph, placed(graph, wish), tmp_path)
    assert wrong_nodes(graph, differing(files, graph, [zoo.sample() for _ in range(2)], CHECKED, wish.rounding)) == []


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["speed", "ram"])
def test_an_output_may_lie_over_an_input_as_far_before_it_as_is_told(
    optimize: Literal["speed", "ram"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = Zoo(7).all()
    graph, sample = by_themselves(zoo.graph(), zoo.sample())
    calls = tuple(call_of(op, graph, Wish(optimize)) for op in graph.ops)
    files = write_c(graph, over_inputs(graph, calls, closer=False), tmp_path)
    assert wrong_nodes(graph, differing(files, graph, [sample], STRICT)) == []
    closer = over_inputs(graph, calls, closer=True)
    with pytest.raises(RuntimeError, match="the plan of memory is wrong"):
        write_c(graph, closer, tmp_path)
    monkeypatch.setattr("qdsl.targets.stm32.c.writing.check", lambda *_: ())
    wrong = differing(write_c(graph, closer, tmp_path), graph, [sample], STRICT)
    assert {"Conv", "Dequantize"} <= {type(op).__name__ for op in graph.ops if op.output in wrong}


def in_one(graph: IntegerGraph) -> Placed:
    """A chain with all between its first call and its last as one pipeline."""
    first, *calls, last = [call_of(op, graph, Wish()) for op in graph.ops]
    return place(graph, [Step((first,)), Step(tuple(calls)), Step((last,))])


@pytest.mark.slow
def test_a_pipeline_that_keeps_few_rows_computes_the_same(tmp_path: Path) -> None:
    zoo = Zoo(5).chain()
    graph = zoo.graph()
    few = in_one(graph)
    files = write_c(graph, few, tmp_path)
    assert sorted(rows for _, rows in few.rings.values()) == [1, 1, 1, 3, 5]
    assert few.size < placed(graph).size / 2
    assert wrong_nodes(graph, differing(files, graph, [zoo.sample() for _ in range(2)], STRICT)) == []


@pytest.mark.slow
@pytest.mark.parametrize("wish", [Wish("speed"), Wish("ram")])
@pytest.mark.parametrize("net", ["v1", "v2"])
def test_a_mobilenet_computes_every_tensor_of_the_interpreter(net: Net, wish: Wish, tmp_path: Path) -> None:
    graph = lower(crack_model(net), net)
    (name,) = graph.inputs
    samples = [{name: stored(graph.tensors[name], picture)} for picture in crack_pictures(2, net)]
    files = write_c(graph, planned(graph, wish), tmp_path)
    assert wrong_nodes(graph, differing(files, graph, samples, CHECKED)) == []
    assert files.macs == {"v1": 40_774_784, "v2": 95_854_400}[net]


def part_of(file: str) -> str:
    """Which graph shows a mistake in a kernel source."""
    return "rows" if file == "driver.h" else "tflite" if file.endswith("fixed.h") else "ort"


@pytest.mark.slow
@pytest.mark.parametrize("part", ["ort", "tflite", "rows"])
def test_a_mistake_in_any_kernel_shows(part: str, tmp_path: Path) -> None:
    rounding: Rounding = "tflite" if part == "tflite" else "ort"
    zoo = Zoo(5).chain() if part == "rows" else Zoo(1).all()
    graph = zoo.graph()
    samples = [zoo.sample() for _ in range(3)]
    at = in_one(graph) if part == "rows" else placed(graph, Wish("speed", rounding))
    files = write_c(graph, at, tmp_path)
    kernels = tmp_path / "kernels.h"
    text = kernels.read_text(encoding="ascii")
    unseen = []
    for file, old, new, kinds in (mutant for mutant in MUTANTS if part_of(mutant[0]) == part):
        source = (KERNELS / file).read_text(encoding="ascii")
        assert old in source, (file, old)
        assert source in text, file
        kernels.write_text(text.replace(source, source.replace(old, new)), encoding="ascii")
        shown = shown_by(graph, files, samples, rounding)
        if not set(kinds.split()) <= shown:
            unseen.append((file, old, new, kinds, shown))
    assert not unseen, "\n".join(map(str, unseen))


def shown_by(graph: IntegerGraph, files: CFiles, samples: list[Arrays], rounding: Rounding) -> set[str]:
    """The kinds of operators that a mistake shows in: all where the program does not end well."""
    try:
        wrong = differing(files, graph, samples, ("-O0",), rounding)
    except subprocess.CalledProcessError as error:
        assert error.returncode < 0, error.stderr
        return {type(op).__name__ for op in graph.ops}
    return {type(op).__name__ for op in graph.ops if op.output in wrong}


def test_a_graph_is_written_the_same_every_time(tmp_path: Path) -> None:
    graph = Zoo(3).all().graph()
    first, second = (write_c(graph, placed(graph), tmp_path / name) for name in ("a", "b"))
    assert first.hash == second.hash
    assert {name: (tmp_path / "a" / name).read_bytes() for name in first.files} == {
        name: (tmp_path / "b" / name).read_bytes() for name in second.files
    }


def test_names_of_a_model_stay_within_their_strings_and_comments(tmp_path: Path) -> None:
    zoo = Zoo(1)
    zoo.functions()
    graph = zoo.graph()
    hostile = '*/ #error "\\\n??/ é\0'
    renamed = replace(graph, name=hostile, ops=tuple(replace(op, node=hostile) for op in graph.ops))
    write_c(renamed, placed(renamed), tmp_path)
    host.build(tmp_path, tmp_path / "host", cc=str(CC), more=STRICT)


def test_what_the_compiler_says_is_told(tmp_path: Path) -> None:
    graph = Zoo(1).chain().graph()
    write_c(graph, placed(graph), tmp_path)
    (tmp_path / "weights.h").write_text("#error broken\n", encoding="ascii")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        host.build(tmp_path, tmp_path / "host", cc=str(CC))
    assert "#error broken" in caught.value.stderr


def test_more_rows_than_the_tables_hold_are_refused() -> None:
    zoo = Zoo(1)
    x = zoo.feed(1, 70_000, 1, 1)
    zoo.add(r.Table, (x,), zoo.tensor(1, 70_000, 1, 1), np.zeros(256, np.int8))
    graph = zoo.graph()
    with pytest.raises(ValueError, match="70000 rows"):
        call_of(graph.ops[0], graph, Wish())


def test_a_reshape_in_place_is_no_step_and_one_elsewhere_is(tmp_path: Path) -> None:
    zoo = Zoo(1)
    x = zoo.feed(1, 2, 3, 4)
    zoo.add(r.Reshape, (x,), zoo.tensor(1, 24, encoding=zoo.its(x)))
    graph = zoo.graph()
    (call,) = (call_of(op, graph, Wish()) for op in graph.ops)
    for at, count in ((0, 0), (32, 1)):
        where = Placed((Step((call,)),), {x: 0, graph.outputs[0]: at}, (0,), {}, 56, 56)
        assert len(write_c(graph, where, tmp_path).steps) == count


def test_a_mistake_is_planted_in_every_kernel_that_no_other_test_plants_one_in() -> None:
    planted = {file for file, *_ in (*MUTANTS, *FLOAT_MUTANTS, *DYNAMIC_MUTANTS)}
    shared = {"common.h", "binary.h"}  # what mistakes in the kernels that use them show
    assert {path.name for path in KERNELS.glob("*.h")} - planted - shared <= set(FILES)
