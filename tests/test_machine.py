"""What a measurement says of its machine: the processor of a board, its instruction sets, an emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdsl.harness import machine
from qdsl.harness.machine import emulator, environment, instructions, processor

PI_5 = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

Revision\t: c04170
Serial\t\t: 0000000000000000
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""
NO_MODEL = PI_5.partition("Revision")[0]
PI_3 = PI_5.replace("0xd0b", "0xd03").replace(" asimddp", "").replace("Pi 5", "Pi 3")
PI_32 = "model name\t: ARMv7 Processor rev 4 (v7l)\nHardware\t: BCM2835\nModel\t: Raspberry Pi 3 Model B"
INTEL = """vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 106
model name\t: Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz
flags\t\t: fpu sse avx2 avx512f avx512bw avx512_vnni amx_int8 avx_vnni
"""
BOARD = "Raspberry Pi 5 Model B Rev 1.0\0"


@pytest.mark.parametrize(
    ("cpuinfo", "board", "name", "sets"),
    [
        (PI_5, BOARD, "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)", "asimd asimddp"),
        (NO_MODEL, BOARD, "Raspberry Pi 5 Model B Rev 1.0 (Cortex-A76)", "asimd asimddp"),
        (NO_MODEL, "", "Cortex-A76", "asimd asimddp"),
        (NO_MODEL.replace("0x41", "0x51"), "Board", "Board", "asimd asimddp"),
        (PI_3, "", "Raspberry Pi 3 Model B Rev 1.0 (Cortex-A53)", "asimd"),
        (PI_32, BOARD, "ARMv7 Processor rev 4 (v7l)", None),
        (INTEL, "", "Intel(R) Xeon(R) Platinum 8375C CPU @ 2.90GHz", "avx2 avx512bw avx_vnni avx512_vnni amx_int8"),
        ("vendor_id: Other\nmodel: 7\nflags: none", BOARD, "Raspberry Pi 5 Model B Rev 1.0", ""),
    ],
)
def test_processors(cpuinfo: str, board: str, name: str, sets: str | None) -> None:
    assert processor(cpuinfo, board) == name
    assert sets is None or instructions(cpuinfo) == sets


def test_a_processor_without_a_name_is_never_empty() -> None:
    assert processor("model : 7\n")


def test_instruction_sets_without_cpuinfo_are_those_of_numpy() -> None:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        pytest.skip("this system has no /proc/cpuinfo")
    named = instructions(path.read_text(encoding="utf-8"))
    known_to_numpy = {"asimd", "asimddp", "sve", "avx2", "avx512bw", "avx512_vnni"}
    assert set(instructions("").split()) == set(named.split()) & known_to_numpy


def fake_proc(folder: Path, program: str, words: list[str], cpuinfo: str = NO_MODEL) -> Path:
    (folder / "thread-self").mkdir(parents=True)
    (folder / "thread-self" / "exe").symlink_to(program)
    (folder / "thread-self" / "cmdline").write_bytes("\0".join(words).encode())
    (folder / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("program", "words", "told"),
    [
        ("/usr/bin/python3.11", ["python3", "-cpu", "max"], ""),
        ("/usr/bin/qemu-aarch64-static", ["qemu", "-cpu", "cortex-a53", "python3"], "cortex-a53, qemu"),
        ("/usr/bin/qemu-aarch64", ["qemu", "python3"], "qemu"),
        ("/usr/bin/qemu-aarch64", ["qemu", "-cpu"], "qemu"),
    ],
)
def test_an_emulator_is_noticed(
    program: str, words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(machine.EMULATED, raising=False)
    monkeypatch.delenv("QEMU_CPU", raising=False)
    monkeypatch.setattr(machine, "_PROC", fake_proc(tmp_path, program, words))
    assert emulator() == told
    assert environment().get("emulator", "") == told
    monkeypatch.setenv(machine.EMULATED, "cortex-a76, qemu 7.2")
    assert environment()["emulator"] == "cortex-a76, qemu 7.2"


def test_rosetta_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine.EMULATED, raising=False)
    monkeypatch.setattr(machine, "_PROC", fake_proc(tmp_path, "/bin/python", [], "model name: VirtualApple @ 2.5GHz\n"))
    assert emulator() == "rosetta"
