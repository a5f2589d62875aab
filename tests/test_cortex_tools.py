"""What is said of emulated Cortex-M where compiler and emulator are not here, or not as they should be."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
from stand_in_network import network, program

from qdsl.diag import QdslError
from qdsl.spec.bounds import UnfitError
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.emulated import installed
from qdsl.targets.stm32.emulated.building import PROJECT, BuiltC, build
from qdsl.targets.stm32.emulated.commands import command
from qdsl.targets.stm32.emulated.cores import CORES, FLAGS
from qdsl.targets.stm32.emulated.installed import COMPILER, EMULATOR, GET, Tool, Tools, tools
from qdsl.targets.stm32.emulated.running import run
from qdsl.targets.stm32.emulated.sections import Layout, read_map

MAP = """
Linker script and memory map

LOAD network.o

.vectors        0x00000000       0x40
 *(.vectors)
 .vectors       0x00000000       0x40 start.o

.arena          0x20010000     0x1000
 .bss.arena     0x20010000     0x1000 emulated.o

.text           0x00000040       0x36
 *(.text .text.*)
 .text.startup.main
                0x00000040       0x10 network.o
                0x00000040                main
 .text.qdsl_add
                0x00000050        0x4 network.o
 *fill*         0x00000054        0x2
 .text          0x00000056       0x20 /usr/lib/thumb/libc.a(libc_a-memcpy-stub.o)
                0x00000076                . = ALIGN (0x4)

.data           0x20011000        0x8 load address 0x00000076
 .data.kept     0x20011000        0x8 network.o

.glue_7         0x00000076        0x0
.stack          0x20000000     0x2000
.comment        0x00000000       0x26
"""


def test_a_map_tells_sections_and_what_is_in_them() -> None:
    layout = read_map(MAP)
    assert {section.name: section.bytes for section in layout.sections} == {
        ".vectors": 64,
        ".arena": 4096,
        ".text": 54,
        ".data": 8,
        ".stack": 8192,
    }
    (text,) = (section for section in layout.sections if section.name == ".text")
    assert [(part.name, part.object, part.bytes) for part in text.parts] == [
        ("main", "network.o", 16),
        ("qdsl_add", "network.o", 4),
        ("", "", 2),
        ("", "libc.a(libc_a-memcpy-stub.o)", 32),
    ]
    assert layout.flash == 64 + 54 + 8 and layout.ram == 4096 + 8
    assert layout.at(0x52) == "qdsl_add" and layout.at(0x20010020) == "arena" and layout.at(0x90000000) == ""


def test_a_text_that_is_no_map_is_refused() -> None:
    with pytest.raises(UnfitError, match="a linker's map"):
        read_map("hello")


def test_without_the_tools_nothing_is_done_and_it_is_said_how_to_have_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed, "place", lambda name: shutil.which(name, path=str(tmp_path)))
    tools.cache_clear()
    try:
        none = build(network(tmp_path), tmp_path / "out")
        assert none == NotHere(f"there is no {COMPILER} and no {EMULATOR} on this machine (`{GET}`)")
        program(tmp_path / COMPILER, "echo 'arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205'")
        program(tmp_path / EMULATOR, "echo broken >&2; exit 3")
        tools.cache_clear()
        found = tools()
        assert found.compiler is not None and found.compiler.version == "12.2.1"
        assert found.missing == f"{EMULATOR} does not work: broken"
        layout = Layout()
        built = BuiltC(CORES["cortex-m4"], tmp_path, tmp_path, layout, layout, (), "", 0.0)
        assert run(built, [], (0, 0)) == NotHere(found.missing)
    finally:
        tools.cache_clear()


@pytest.mark.slow
def test_a_program_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = program(tmp_path / "child", "sleep 0.5; touch late")
    parent = program(tmp_path / "parent", f"echo begun; {child} & wait")
    done = command([str(parent)], 0.2, tmp_path)
    assert done.stopped and done.said == "begun\n"
    time.sleep(0.5)
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 10", "network_init or network_run refuses"),
        ("exit 13", "used all of its stack"),
        ("exit 12", "the core faulted, and says nothing of it"),
        ("echo 'qemu: fatal: Lockup: cannot escalate' >&2; kill -9 $$", "the core locked up"),
        ("echo no machine >&2; exit 1", "QEMU ended with 1: no machine"),
        ("exit 0", "QEMU ended with 0"),
        ("head -c 2 inputs > outputs", "it left no counts"),
    ],
)
def test_how_an_emulation_ends_is_told(script: str, told: str, tmp_path: Path) -> None:
    fake = Tool(program(tmp_path / "qemu", script), "7.2")
    layout = Layout()
    built = BuiltC(CORES["cortex-m7"], tmp_path, tmp_path, layout, layout, (), "", 0.0)
    with pytest.raises(QdslError) as caught:
        run(built, [b"12"], (2, 2), found=Tools(fake, fake))
    (found,) = caught.value.diagnostics
    assert found.code == "emulation-failed" and told in found.headline
    assert "emulated Cortex-M7 (QEMU mps2-an500)" in found.headline


def test_programs_are_built_as_the_makefile_builds_them() -> None:
    text = (PROJECT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    told = {name: tuple(words.split()) for name, words in re.findall(r"^(\w+) = (.*)$", text, re.MULTILINE)}
    assert told["FLAGS"] == FLAGS
    assert told["M7"] == CORES["cortex-m7"].flags and told["M4"] == CORES["cortex-m4"].flags
