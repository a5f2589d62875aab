"""The cores that emitted C is built for and run on here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Core:
    """`flags` are the compiler's, `machine` is QEMU's board with that core, `label` what figures of it are called."""

    name: str
    flags: tuple[str, ...]
    machine: str
    label: str


def _core(name: str, kind: str, machine: str, *fpu: str) -> Core:
    told = name.replace("cortex-m", "Cortex-M").replace("soft float", "without FPU")
    label = f"emulated {told} (QEMU {machine}), instructions, not cycles"
    return Core(name, (f"-mcpu={kind}", "-mthumb", *fpu), machine, label)


CORES: Mapping[str, Core] = {
    core.name: core
    for core in (
        _core("cortex-m7", "cortex-m7", "mps2-an500", "-mfpu=fpv5-d16", "-mfloat-abi=hard"),
        _core("cortex-m4", "cortex-m4", "mps2-an386", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        _core("cortex-m7 soft float", "cortex-m7", "mps2-an500", "-mfloat-abi=soft"),
    )
}
# -ffp-contract=off is no matter of taste: a fused multiplication and addition rounds once where ONNX Runtime rounds
# twice.
FLAGS = (
    *("-std=c11", "-O2", "-ffp-contract=off", "-fno-math-errno", "-ffunction-sections", "-fdata-sections"),
    "-fno-tree-loop-distribute-patterns",  # else loops become calls of memset and memcpy
    *("-Wall", "-Wextra", "-Wconversion"),
)
