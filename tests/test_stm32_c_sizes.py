"""What C is said to take in flash and RAM is what the linker makes of it, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
from c_zoo import Zoo, placed
from float_zoo import DynamicZoo, FloatZoo
from integer_models import Net, crack_model
from test_stm32_floats import wholly

from qdsl.integer.lower import lower
from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.calls import call_of
from qdsl.targets.stm32.c.measuring import MEASURED, measure
from qdsl.targets.stm32.c.records import Placed, Wish
from qdsl.targets.stm32.c.sizes import SIZES, sizes
from qdsl.targets.stm32.c.writing import write_c
from qdsl.targets.stm32.emulated.building import BuiltC, build
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.memory.planning import plan

FOUND = tools()
MEASURED_BY = sizes().compiler
BY = f"arm-none-eabi-gcc {FOUND.compiler.version}" if FOUND.compiler else ""
pytestmark = [
    *(pytest.mark.slow, pytest.mark.board),
    pytest.mark.skipif(BY != MEASURED_BY, reason=f"sizes are those of {MEASURED_BY}, here is {BY or 'none'}"),
]


def test_the_sizes_written_down_are_those_of_the_sources() -> None:
    again = "sources were changed: python -m qdsl.targets.stm32.c.measuring"
    assert measure().text() == SIZES.read_text(encoding="ascii"), again


def check(graph: IntegerGraph, at: Placed, folder: Path, core: str) -> None:
    files = write_c(graph, at, folder)
    built = build(folder, folder / "out", core)
    assert isinstance(built, BuiltC)
    (told,) = (each for each in files.footprints if each.core == core)
    assert built.warnings == ()
    assert (built.flash, built.ram) == (told.flash, told.ram)


@pytest.mark.parametrize("wish", [Wish("speed"), Wish("ram", "tflite")])
def test_every_kernel_takes_what_is_told(wish: Wish, tmp_path: Path) -> None:
    graph = Zoo(1).all().graph()
    check(graph, placed(graph, wish), tmp_path, "cortex-m7")


@pytest.mark.slow
@pytest.mark.parametrize("core", MEASURED)
@pytest.mark.parametrize(
    ("zoo", "wish", "twice"),
    [(FloatZoo(3), Wish("speed"), False), (DynamicZoo(5), Wish("speed"), False), (DynamicZoo(5), Wish("ram"), True)],
)
def test_every_kernel_of_floats_takes_what_is_told(
    zoo: FloatZoo, wish: Wish, twice: bool, core: str, tmp_path: Path
) -> None:
    graph = (zoo if zoo.ops else zoo.all()).graph()
    check(graph, wholly(graph, wish, twice), tmp_path, core)


@pytest.mark.parametrize("core", MEASURED)
@pytest.mark.parametrize("net", ["v1", "v2"])
def test_a_mobilenet_takes_what_is_told(net: Net, core: str, tmp_path: Path) -> None:
    graph, wish = lower(crack_model(net), net), Wish("ram")
    check(graph, plan(graph, [call_of(op, graph, wish) for op in graph.ops], wish), tmp_path, core)
