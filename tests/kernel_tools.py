"""Row kernels in C run on cases, on this host or on an emulated Cortex-M, by tests/kernel_driver.c."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qdsl.targets.stm32 as stm32
from qdsl.targets.stm32.c.records import Call, Constant

Array = NDArray[Any]

FILES = (
    *("common.h", "tile.h", "tile_dsp.h", "product.h", "pointwise.h", "conv.h"),
    *("depthwise.h", "strip.h", "depthwise3.h"),
)
KERNELS = tuple(
    f"qdsl_{kernel}_{stored}{rounding}"
    for kernel, roundings in (
        ("pointwise", ("", "_any", "_fixed")),
        ("conv", ("", "_any", "_fixed")),
        ("depthwise", ("", "_fixed")),
        ("depthwise3", ("", "_any", "_fixed")),
    )
    for stored in ("words", "bytes")
    for rounding in roundings
)
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
SANITIZED = ("-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
LINKED = ("--specs=rdimon.specs", "-lc", "-lrdimon")
HERE = Path(__file__).parent
STRICT = ("-std=c11", "-ffp-contract=off")
SCRIPT = """
MEMORY { CODE : ORIGIN = 0, LENGTH = 4M
         DATA : ORIGIN = 0x60000000, LENGTH = 16M }
SECTIONS {
  .text 0 : { KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.data*) } > CODE
  .ARM.exidx : { *(.ARM.exidx*) } > CODE
  .bss (NOLOAD) : { *(.bss*) *(COMMON) } > DATA
  end = .; __end__ = .;
}
"""
# All run on the machine below, a Cortex-M7, which knows the instructions of the others.
CORES = {
    "cortex-m7": ("-mcpu=cortex-m7", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
    "cortex-m4": ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
    "cortex-m4 soft": ("-mcpu=cortex-m4", "-mfloat-abi=soft"),
    "cortex-m3": ("-mcpu=cortex-m3", "-mfloat-abi=soft"),
}
EMULATOR = ("qemu-system-arm", "-M", "mps2-an500", "-nographic", "-monitor", "none", "-serial", "none")
NANOSECONDS = 40 / 2**5  # instructions per tick of the timer, with -icount shift=5


def tools_absent() -> str | None:
    missing = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if shutil.which(tool) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


@dataclass(frozen=True)
class Case:
    """`call` on int8 [1, H, W, C] (or vectors), with so many rows. `overlap`: the input lies so many bytes behind the
    output, which shares its memory."""

    call: Call
    x: Array
    out_shape: tuple[int, ...]
    overlap: int = -1

    def words(self) -> bytes:
        height, out_height = (rows_of(shape) for shape in (self.x.shape, self.out_shape))
        numbers = (
            *self.call.window,
            self.overlap,
            height,
            self.x.size // height,
            out_height,
            int(np.prod(self.out_shape)) // out_height,
            self.call.scratch,
        )
        parts = [_number(KERNELS.index(self.call.kernel)), _number(len(self.call.parameters))]
        parts += [_field(value) for _, value in self.call.parameters]
        return b"".join([*parts, *map(_number, numbers), self.x.tobytes()])


def rows_of(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 4 else 1


def _number(value: int) -> bytes:
    return np.int32(value).tobytes()


def _field(value: int | float | Constant | None) -> bytes:
    if isinstance(value, Constant):
        stored = np.ascontiguousarray(value.values)
        return _number(stored.nbytes) + _number(1) + stored.tobytes()
    if value is None:
        return _number(0) + _number(2)
    if not isinstance(value, int):
        raise TypeError(f"{value!r} is no field of these kernels")
    return _number(value) + _number(0)


@dataclass(frozen=True)
class Ran:
    output: Array
    instructions: int


@dataclass(frozen=True)
class Driver:
    """A built driver: a program of this host, or of an emulated core."""

    program: Path
    emulated: bool

    def start(self) -> None:
        """Run the program in its folder."""
        semihosting = ("-semihosting-config", "enable=on,target=native", "-icount", "shift=5")
        command = (*EMULATOR, *semihosting, "-kernel", str(self.program)) if self.emulated else (str(self.program),)
        kept = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # the driver gives nothing back
        done = subprocess.run(command, cwd=self.program.parent, env=kept, capture_output=True, text=True, timeout=250)
        if done.returncode:
            raise AssertionError(f"driver ended with {done.returncode}: {done.stderr}{done.stdout}")

    def run(self, cases: Sequence[Case]) -> list[Ran]:
        folder = self.program.parent
        (folder / "cases").write_bytes(_number(len(cases)) + b"".join(case.words() for case in cases))
        self.start()
        return list(_outputs((folder / "outputs").read_bytes(), cases))


def _outputs(found: bytes, cases: Sequence[Case]) -> list[Ran]:
    outputs, at = [], 0
    for case in cases:
        size = int(np.prod(case.out_shape))
        ticks = int(np.frombuffer(found, np.uint32, 1, at)[0])
        values = np.frombuffer(found, np.int8, size, at + 4).reshape(case.out_shape)
        outputs.append(Ran(values, round(ticks * NANOSECONDS)))
        at += 4 + size
    assert at == len(found), "more outputs than asked for"
    return outputs


def source(fault: tuple[str, str] | None = None) -> str:
    """All kernels in one file, where asked for with one text replaced by another wherever it stands."""
    folder = Path(stm32.__file__).parent / "kernels"
    text = "".join((folder / name).read_text(encoding="utf-8") for name in FILES)
    if fault is None:
        return text
    if fault[0] not in text:
        raise ValueError(f"no kernel says {fault[0]!r}")
    return text.replace(*fault)


def cross(core: str, folder: Path) -> list[str]:
    """The compiler for one of CORES, and how its programs are laid out."""
    (folder / "driver.ld").write_text(SCRIPT, encoding="utf-8")
    return ["arm-none-eabi-gcc", *CORES[core], "-mthumb", "-nostartfiles", "-T", str(folder / "driver.ld")]


def build(folder: Path, core: str | None = None, text: str | None = None, host: Sequence[str] = SANITIZED) -> Driver:
    """For this host, or for one of CORES; of the kernels as they are, or of another text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernels.h").write_text(text or source(), encoding="utf-8")
    driver = HERE / "kernel_driver.c"
    common = (*STRICT, *WARNINGS, f"-DDRIVEN_KERNELS={','.join(KERNELS)}", "-I", str(folder), str(driver))
    if core is None:
        program = folder / "driver"
        command = ["cc", *host, *common]
    else:
        program = folder / "driver.elf"
        command = [*cross(core, folder), "-O2", *common, *LINKED]
    subprocess.run([*command, "-o", str(program)], check=True, capture_output=True, text=True)
    return Driver(program, core is not None)
