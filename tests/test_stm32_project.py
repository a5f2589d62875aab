"""What is written beside the network builds: the Makefile, the example and its table of a recipe's arithmetic."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from c_zoo import Zoo, placed

from qdsl.data.preprocess import Pipeline
from qdsl.data.types import ModelInput
from qdsl.diag import Span
from qdsl.integer.interpret import run as interpret
from qdsl.integer.records import AveragePool, Encoding, Tensor, Window
from qdsl.integer.rounding import dequantized, quantized
from qdsl.lang.recipe import InputSpec, InputStep
from qdsl.targets.stm32.boards import BOARDS
from qdsl.targets.stm32.c import host
from qdsl.targets.stm32.c.example import levels_of
from qdsl.targets.stm32.c.writing import PROJECT, write_c
from qdsl.targets.stm32.emulated.cores import CORES, FLAGS
from qdsl.targets.stm32.emulated.sections import read_map

NOWHERE = Span("recipe.q", 1, 1, 1, 2)
CODES = Tensor("x", (1, 6, 5, 3), "int8", (0, 2, 3, 1), Encoding(float(np.float32(0.019)), -7))


def steps(*words: tuple[object, ...]) -> InputSpec:
    return InputSpec(None, tuple(InputStep(str(name), tuple(args), NOWHERE) for name, *args in words), NOWHERE)  # type: ignore[arg-type]


NORMALISED = steps(("rescale", 1 / 255), ("mean", 0.485, 0.456, 0.406), ("std", 0.229, 0.224, 0.225))
TURNED = steps(("mean", 104.0, 117.0, 123.0), ("color", "bgr"), ("std", 58.0))


@pytest.mark.parametrize("spec", [None, NORMALISED, TURNED])
@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_a_table_of_levels_is_the_recipes_arithmetic(spec: InputSpec | None, dtype: str) -> None:
    tensor = CODES if dtype == "int8" else Tensor("x", CODES.shape, "float32", CODES.axes)
    levels = levels_of(spec, tensor)
    assert levels is not None and levels.values.dtype == dtype
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), np.uint8)
    pipeline = Pipeline("x", spec.steps if spec else (), ModelInput("float32", (1, 3, 6, 5)), NOWHERE)
    expected = pipeline.picture(pixels).transpose(0, 2, 3, 1)
    if tensor.encoding is not None:
        expected = quantized(expected, tensor.encoding)
    channels = [levels.values[i][pixels[:, :, source]] for i, source in enumerate(levels.source)]
    assert np.array_equal(np.stack(channels, axis=2), expected[0])


def test_what_no_table_tells_has_none() -> None:
    assert levels_of(steps(("color", "gray")), CODES) is None
    assert levels_of(None, Tensor("x", (1, 6, 5, 4), "int8", (0, 2, 3, 1), Encoding(1.0, 0))) is None
    assert levels_of(None, Tensor("x", (1, 30), "int8", (0, 1), Encoding(1.0, 0))) is None


def test_the_makefile_builds_as_what_is_measured() -> None:
    text = (PROJECT / "Makefile").read_text(encoding="ascii").replace("\\\n", " ")
    lines = dict(re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE))
    assert lines["FLAGS"].split() == list(FLAGS)
    assert lines["M7"].split() == list(CORES["cortex-m7"].flags)
    assert lines["M4"].split() == list(CORES["cortex-m4"].flags)
    cmake = (PROJECT / "CMakeLists.txt").read_text(encoding="ascii")
    assert {flag for flag in FLAGS if not flag.startswith(("-W", "-std"))} <= set(re.split(r"[\s()]+", cmake))


def example(folder: Path, seed: int = 1) -> tuple[Zoo, str]:
    """An average of a picture, written with what makes a program of it."""
    zoo = Zoo(seed)
    x = zoo.feed(1, 6, 5, 3, encoding=CODES.encoding)
    out = zoo.add(AveragePool, (x,), zoo.tensor(1, 5, 4, 3, encoding=CODES.encoding), Window((2, 2)))
    graph = zoo.graph()
    write_c(graph, placed(graph), folder, levels=levels_of(TURNED, graph.tensors[x]))
    return zoo, out


@pytest.mark.skipif(host.compiler() is None or shutil.which("make") is None, reason="no C compiler, or no make")
def test_the_example_reads_a_picture_and_tells_the_outputs(tmp_path: Path) -> None:
    zoo, out = example(tmp_path)
    pixels = np.random.default_rng(2).integers(0, 256, (6, 5, 3), np.uint8)
    (tmp_path / "picture.rgb").write_bytes(pixels.tobytes())
    subprocess.run(["make", "-s", f"CC={host.compiler()} -Werror"], cwd=tmp_path, check=True)
    done = subprocess.run(["build/network", "picture.rgb"], cwd=tmp_path, check=True, capture_output=True, text=True)
    levels = levels_of(TURNED, zoo.tensors[zoo.inputs[0]])
    assert levels is not None
    codes = np.stack([levels.values[i][pixels[:, :, source]] for i, source in enumerate(levels.source)], axis=2)
    expected = interpret(zoo.graph(), {zoo.inputs[0]: codes[None]})[out]
    name, told = done.stdout.split(":")
    values = dequantized(expected, zoo.its(out)).ravel()
    assert name == out and np.allclose(np.array(told.split(), float), values, rtol=1e-7)
    short = tmp_path / "short.rgb"
    short.write_bytes(b"\0")
    assert subprocess.run(["build/network", short], cwd=tmp_path, capture_output=True, check=False).returncode == 1


# Compiled once for each network, by names of its own.
ONE_OF_TWO = """
#include <stdio.h>
#include "network.h"
static _Alignas(NETWORK_ALIGNMENT) uint8_t arena[NETWORK_ARENA_BYTES];
int RUN(void);
int RUN(void)
{
    if (network_init(arena, sizeof arena) != 0)
        return 1;
    if (fread(network_input(0)->data, 1, network_input(0)->bytes, stdin) != network_input(0)->bytes)
        return 1;
    return network_run() != 0 || fwrite(network_output(0)->data, 1, NETWORK_OUTPUT_0_BYTES, stdout) == 0;
}
"""
BOTH = "int one(void); int two(void); int main(void) { return one() || two(); }"


@pytest.mark.skipif(host.compiler() is None, reason="no C compiler")
def test_two_networks_fit_into_one_program(tmp_path: Path) -> None:
    cc, objects, fed, expected = str(host.compiler()), [], b"", b""
    (tmp_path / "run.c").write_text(ONE_OF_TWO)
    (tmp_path / "both.c").write_text(BOTH)
    for number, name in enumerate(("one", "two")):
        zoo, out = example(tmp_path / name, seed=number)
        sample = zoo.sample()
        fed += sample[zoo.inputs[0]].tobytes()
        expected += interpret(zoo.graph(), sample)[out].tobytes()
        own = [f"-DNETWORK_PREFIX={name}_", f"-DRUN={name}", f"-I{tmp_path / name}", "-std=c11", "-Wall", "-Werror"]
        for source in (tmp_path / name / "network.c", tmp_path / "run.c"):
            objects.append(str(tmp_path / f"{name}_{source.stem}.o"))
            subprocess.run([cc, *own, "-c", str(source), "-o", objects[-1]], check=True)
    program = str(tmp_path / "both")
    subprocess.run([cc, str(tmp_path / "both.c"), *objects, "-o", program], check=True)
    assert subprocess.run([program], input=fed, check=True, capture_output=True).stdout == expected


@pytest.mark.skipif(host.compiler() is None, reason="no C compiler")
def test_flags_that_break_the_rounding_are_refused(tmp_path: Path) -> None:
    example(tmp_path)
    words = [str(host.compiler()), "-ffast-math", "-fsyntax-only", str(tmp_path / "network.c")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "-ffast-math rounds otherwise" in done.stderr


def test_all_that_is_written_tells_its_licence(tmp_path: Path) -> None:
    """Numbers beside it are those of a model."""
    example(tmp_path)
    own = {path.name: path.read_text(encoding="ascii").splitlines()[0] for path in tmp_path.iterdir()}
    assert {name for name, line in own.items() if "SPDX-License-Identifier: Apache-2.0" not in line} == {
        *("README.md", "weights.h", "example.h")
    }


@pytest.mark.skipif(host.compiler() is None, reason="no C compiler")
def test_the_call_that_is_shown_compiles(tmp_path: Path) -> None:
    example(tmp_path)
    (shown,) = re.findall(r"```c\n(.*?)```", (tmp_path / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "own.c").write_text(shown + "int main(void) { return classify(0); }\n", encoding="ascii")
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror")
    subprocess.run([str(host.compiler()), *flags, "-c", "own.c"], cwd=tmp_path, check=True)
    plus = shutil.which("g++")
    if plus is not None:
        (tmp_path / "own.cpp").write_text(
            shown.replace("static _Alignas(NETWORK_ALIGNMENT)", "alignas(NETWORK_ALIGNMENT) static"), encoding="ascii"
        )
        flags = ("-std=c++17", "-pedantic", *flags[1:])
        subprocess.run([plus, *flags, "-c", "own.cpp"], cwd=tmp_path, check=True)


@pytest.mark.slow
@pytest.mark.skipif(host.compiler() is None or shutil.which("cmake") is None, reason="no C compiler, or no cmake")
def test_cmake_builds_the_library_and_the_example(tmp_path: Path) -> None:
    example(tmp_path)
    subprocess.run(["cmake", "-S", ".", "-B", "out"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "out"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out" / "libnetwork.a").exists() and (tmp_path / "out" / "example").exists()


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None or shutil.which("arm-none-eabi-gcc") is None, reason="tools"
)
@pytest.mark.parametrize("level", ["-O1", "-Os", "-O3"])
def test_every_level_of_optimization_computes_the_same(level: str, tmp_path: Path) -> None:
    """As somebody's firmware is built."""
    zoo = Zoo(5).chain()
    graph, sample = zoo.graph(), zoo.sample()
    write_c(graph, placed(graph), tmp_path)
    (tmp_path / "inputs").write_bytes(b"".join(sample[name].tobytes() for name in graph.inputs))
    flags = " ".join(level if flag == "-O2" else flag for flag in FLAGS)
    subprocess.run(["make", "-s", "run", f"FLAGS={flags}"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    expected = interpret(graph, sample)
    assert (tmp_path / "outputs").read_bytes() == b"".join(expected[name].tobytes() for name in graph.outputs)


TWO_BY_CMAKE = """
cmake_minimum_required(VERSION 3.13)
project(firmware C)
foreach(name one two)
  set(NETWORK_LIBRARY ${name})
  set(NETWORK_PREFIX ${name}_)
  add_subdirectory(${name})
  add_library(run_${name} OBJECT run.c)
  target_compile_definitions(run_${name} PRIVATE RUN=${name})
  target_link_libraries(run_${name} PRIVATE ${name})
endforeach()
add_executable(both both.c $<TARGET_OBJECTS:run_one> $<TARGET_OBJECTS:run_two>)
target_link_libraries(both one two)
"""


@pytest.mark.slow
@pytest.mark.skipif(host.compiler() is None or shutil.which("cmake") is None, reason="no C compiler, or no cmake")
def test_cmake_takes_two_networks(tmp_path: Path) -> None:
    for number, name in enumerate(("one", "two")):
        example(tmp_path / name, seed=number)
    for name, text in (("run.c", ONE_OF_TWO), ("both.c", BOTH), ("CMakeLists.txt", TWO_BY_CMAKE)):
        (tmp_path / name).write_text(text, encoding="ascii")
    subprocess.run(["cmake", "-S", ".", "-B", "out"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["cmake", "--build", "out"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "out" / "both").exists()


@pytest.mark.slow
@pytest.mark.board
@pytest.mark.skipif(shutil.which("arm-none-eabi-gcc") is None, reason="no arm-none-eabi-gcc")
def test_the_makefile_builds_for_boards(tmp_path: Path) -> None:
    zoo, out = example(tmp_path)
    done = subprocess.run(["make", "-s", "m7", "m4", "qemu"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "warning" not in done.stderr
    assert len(list((tmp_path / "build").glob("network_*.elf"))) == 3
    if shutil.which("qemu-system-arm") is not None:
        without = subprocess.run(["make", "-s", "run"], cwd=tmp_path, check=False, capture_output=True, text=True)
        assert without.returncode and "write a file 'inputs' first" in without.stderr
        sample = zoo.sample()
        (tmp_path / "inputs").write_bytes(sample[zoo.inputs[0]].tobytes())
        subprocess.run(["make", "-s", "run"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        assert (tmp_path / "outputs").read_bytes() == interpret(zoo.graph(), sample)[out].tobytes()
        (tmp_path / "outputs").unlink()
        other = re.findall(r"`make (run .*?)`", (tmp_path / "README.md").read_text(encoding="utf-8"))
        subprocess.run(["make", "-s", "clean"], cwd=tmp_path, check=True)
        subprocess.run(
            ["make", "-s", *shlex.split(other[0])], cwd=tmp_path, check=True, capture_output=True, timeout=60
        )
        assert (tmp_path / "outputs").read_bytes() == interpret(zoo.graph(), sample)[out].tobytes()


@pytest.mark.board
@pytest.mark.parametrize("name", sorted(board.name for board in BOARDS.values()))
def test_a_program_links_for_each_board(name: str, tmp_path: Path) -> None:
    """With the flags of its core, its code in flash, its arena in the largest memory; on a Cortex-M0 as well."""
    board, zoo = BOARDS[name.lower()], Zoo(1)
    x = zoo.feed(1, 6, 5, 3, encoding=CODES.encoding)
    zoo.add(AveragePool, (x,), zoo.tensor(1, 5, 4, 3, encoding=CODES.encoding), Window((2, 2)))
    graph = zoo.graph()
    write_c(graph, placed(graph), tmp_path, levels=levels_of(TURNED, graph.tensors[x]), board=board)
    done = subprocess.run(["make", "board"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
    layout = read_map((tmp_path / "build/network_board.elf.map").read_text(encoding="utf-8"))
    starts = {section.name: section.address for section in layout.sections}
    inside = range(board.largest.address, board.largest.address + board.largest.bytes)
    assert starts[".vectors"] == 0x08000000 and starts[".bss"] in inside
    assert starts[".stack"] in inside or any(bank.name == "DTCM" for bank in board.ram)


@pytest.mark.board
def test_without_a_board_there_is_no_rule_for_one(tmp_path: Path) -> None:
    example(tmp_path)
    done = subprocess.run(["make", "board"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "No rule to make target 'board'" in done.stderr
