"""Programs on emulated Cortex-M: what they compute, how much is counted, and what is told where they go wrong.

Needs arm-none-eabi-gcc and qemu-system-arm; skips without.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TypeVar

import pytest
from stand_in_network import VALUES, loop, network

from qdsl.diag import Diagnostic, QdslError
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.emulated.building import PROJECT, BuiltC, Limits, build
from qdsl.targets.stm32.emulated.cores import CORES
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.emulated.running import RanC, run
from qdsl.targets.stm32.emulated.sections import read_map

pytestmark = [pytest.mark.slow, pytest.mark.board, pytest.mark.skipif(bool(tools().missing), reason=tools().missing)]
SAMPLES = (bytes(range(VALUES)), bytes(range(40, 40 + VALUES)), bytes(VALUES))
SIZES = (VALUES, VALUES)
DOUBLED = tuple(bytes(2 * value for value in sample) for sample in SAMPLES)
T = TypeVar("T")


def here(result: T | NotHere) -> T:
    assert not isinstance(result, NotHere)
    return result


def made(folder: Path, *steps: str, more: str = "", core: str = "cortex-m7", limits: Limits | None = None) -> BuiltC:
    return here(build(network(folder, steps, more), folder / "out", core, limits))


def ran(built: BuiltC, *, steps: bool = False, seconds: float = 60.0) -> RanC:
    return here(run(built, SAMPLES, SIZES, steps=steps, seconds=seconds))


def failing(built: BuiltC, *, seconds: float = 60.0) -> Diagnostic:
    with pytest.raises(QdslError) as caught:
        ran(built, seconds=seconds)
    (found,) = caught.value.diagnostics
    return found


@pytest.mark.parametrize("core", CORES)
def test_a_program_computes_and_is_counted(core: str, tmp_path: Path) -> None:
    """A loop of known length takes as many instructions as it has, and the one that loads its count, to about the tick
    of 1.25 instructions. The first step has the beginning of network_run beside it."""
    built = made(tmp_path, loop(10), loop(1000), loop(60000), core=core)
    assert not built.warnings
    whole, each = ran(built), ran(built, steps=True)
    assert whole.outputs == each.outputs == DOUBLED
    assert each.steps[1] == pytest.approx(2001, abs=1.5) and each.steps[2] == pytest.approx(120001, abs=1.5)
    (taken,) = set(whole.instructions)
    assert taken is not None and taken == pytest.approx(sum(each.steps), abs=15)


def test_a_count_is_the_same_whenever_it_is_taken(tmp_path: Path) -> None:
    built = made(tmp_path, loop(12345))
    first, second = ran(built, steps=True), ran(built, steps=True)
    assert (first.instructions, first.steps, first.stack) == (second.instructions, second.steps, second.stack)


def test_the_linkers_map_says_what_size_says(tmp_path: Path) -> None:
    table = "static const int8_t table[5000] = {1, 2, 3};\nstatic int32_t kept[7] = {1};\nstatic int32_t cleared[9];"
    built = made(tmp_path, "y[0] = (int8_t)(table[x[0]] + kept[x[1] & 3]++ + cleared[x[2] & 3]++);", more=table)
    told = subprocess.run(["arm-none-eabi-size", "-A", str(built.elf)], capture_output=True, text=True, check=True)
    sizes = {found[1]: int(found[2]) for found in re.finditer(r"^(\.[\w.]+) +(\d+)", told.stdout, re.MULTILINE)}
    for section in built.layout.sections:
        assert sizes[section.name] == section.bytes, section.name
        if section.parts:
            assert sum(part.bytes for part in section.parts) == section.bytes, section.name
    assert built.flash == sum(sizes[name] for name in (".vectors", ".text", ".rodata", ".data"))
    assert built.ram == sum(sizes[name] for name in (".arena", ".data", ".bss"))
    parts = {part.name: part.bytes for section in built.layout.sections for part in section.parts}
    assert parts["table"] == 5000 and parts["kept"] == 28 and parts["cleared"] == 36 and parts["arena"] == 4096


def test_the_stack_is_that_of_the_network_alone(tmp_path: Path) -> None:
    deep = (
        "static __attribute__((noinline)) int8_t deep(const int8_t *x) {\n"
        "    volatile int8_t kept[1000];\n"
        "    for (int i = 0; i < 1000; i++) kept[i] = x[i & 15];\n"
        "    return kept[7];\n}"
    )
    shallow = ran(made(tmp_path)).stack
    assert shallow < 64
    assert 1000 <= ran(made(tmp_path, "y[0] = deep(x);", more=deep)).stack < 1000 + 64 + shallow


def test_what_does_not_fit_is_told_with_how_much_is_too_much(tmp_path: Path) -> None:
    table = "const int8_t table[3000] = {1};\n"
    network(tmp_path, ["y[0] = table[x[0]];"], table)
    for limits, told in (
        (Limits(flash=2000), "flash than the 2,000 of the emulated board"),
        (Limits(ram=4000), "RAM than the 4,000 of the emulated board"),
    ):
        with pytest.raises(QdslError) as caught:
            build(tmp_path, tmp_path / "out", limits=limits)
        (found,) = caught.value.diagnostics
        assert found.code == "c-too-large" and told in found.headline and found.help
        assert int(re.findall(r"([\d,]+) bytes more", found.headline)[0].replace(",", "")) > 90


def test_what_does_not_compile_is_told_with_its_line(tmp_path: Path) -> None:
    network(tmp_path, ["y[0] = nothing;"])
    with pytest.raises(QdslError) as caught:
        build(tmp_path, tmp_path / "out")
    (found,) = caught.value.diagnostics
    line = 1 + (tmp_path / "network.c").read_text(encoding="utf-8").splitlines().index("    y[0] = nothing;")
    assert found.code == "c-invalid" and f"network.c:{line}: " in found.headline and "nothing" in found.headline


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    found = failing(made(tmp_path, "for (;;) { }"), seconds=1.0)
    assert found.code == "emulation-failed" and "took more than 1 s" in found.headline


@pytest.mark.parametrize(
    ("more", "step", "told"),
    [
        ("const int8_t stored[40] = {1};", "*(volatile int8_t *)stored = x[0];", "in network_run: an access to 0x"),
        ("", "y[0] = *(volatile int8_t *)((uintptr_t)(x[0] & 15));", "in network_run: an access to 0x0000000"),
        ("", "y[0] = *(volatile int8_t *)0xA0000000u;", "faulted in network_run"),
        (
            "static __attribute__((noinline)) int deeper(volatile int *x) {\n"
            "    volatile int kept[64];\n    kept[0] = x[0];\n    return deeper(kept) + kept[0];\n}",
            "volatile int one = x[0]; y[0] = (int8_t)deeper(&one);",
            "faulted",
        ),
    ],
    ids=["writes a constant", "reads at NULL", "reads where nothing is", "runs out of stack"],
)
def test_a_wrong_access_is_told_with_its_function(more: str, step: str, told: str, tmp_path: Path) -> None:
    found = failing(made(tmp_path, step, more=more))
    assert found.code == "emulation-failed" and told in found.headline, found.headline


def test_samples_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        run(made(tmp_path), [bytes(VALUES), bytes(5)], SIZES)
    assert "a sample has 5 bytes, and the inputs 16" in caught.value.diagnostics[0].headline


def test_what_steps_leave_can_be_had(tmp_path: Path) -> None:
    built = made(tmp_path, "y[3] = (int8_t)(x[0] + 1);")
    found = here(run(built, SAMPLES, SIZES, wanted=[(64 + 3, 1), (64, VALUES)]))
    assert found.traces == tuple(
        (bytes([sample[0] + 1]), doubled) for sample, doubled in zip(SAMPLES, DOUBLED, strict=True)
    )


def test_a_program_links_for_the_board(tmp_path: Path) -> None:
    """What stands in flash begins at 0x08000000, what is written lies in the AXI-SRAM, the stack in the DTCM; what is
    too large for one of them is refused by the linker."""
    network(tmp_path)
    main = "static uint8_t arena[{bytes}];\nint main(void) {{ return network_init(arena, sizeof arena); }}\n"
    words = [*CORES["cortex-m7"].flags, "-O2", "-Werror", "-nostartfiles", "-T", str(PROJECT / "stm32h7b3.ld")]
    words += [str(PROJECT / "start.c"), "network.c", "main.c", "-o", "board.elf", "-Wl,-Map=board.map"]
    for size in (1 << 20, 1 << 16):
        text = '#include "network.h"\n' + main.format(bytes=size)
        (tmp_path / "main.c").write_text(text, encoding="utf-8")
        done = subprocess.run(["arm-none-eabi-gcc", *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (size == 1 << 16), done.stderr
    layout = read_map((tmp_path / "board.map").read_text(encoding="utf-8"))
    assert layout.ram == (1 << 16) + 16
    starts = {section.name: section.address for section in layout.sections}
    assert starts[".vectors"] == 0x08000000 and starts[".stack"] == 0x20000000 and starts[".data"] == 0x24000000
