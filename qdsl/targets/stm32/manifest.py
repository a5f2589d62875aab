"""What the manifest of an artifact says of its C, and what is read of that: whoever has it may have changed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from qdsl.spec.arena import Arena
from qdsl.spec.bounds import Count, Many, OneOf
from qdsl.spec.emulated import Memory
from qdsl.targets.manifest_reading import read_manifest
from qdsl.targets.results import NotHere
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.boards import Board
from qdsl.targets.stm32.c.writing import CFiles
from qdsl.targets.stm32.emulated.fitting import fit


@dataclass(frozen=True, slots=True)
class MadeC:
    """What the C was made for, and what it takes; `predicted` is what the linker will make of it, by core, `macc` what
    it computes as ST counts, `memory` where its tensors lie."""

    optimize: Annotated[str, OneOf(("speed", "ram"))]
    io: Annotated[str, OneOf(("int8", "float32"))]
    arena_bytes: Count
    constant_bytes: Count
    macc: Count
    predicted: Annotated[Mapping[str, Memory], Many(0, 16)]
    memory: Arena


def memory_on(made: MadeC, board: Board | None) -> Memory | None:
    """What the linker will make of the C for a board, or for a Cortex-M7; None where kernels were not measured on such
    a core."""
    found = fit(board)
    return None if isinstance(found, NotHere) else made.predicted.get(found.core)


def about_c(wanted: Asked, files: CFiles, macc: int, memory: Arena) -> dict[str, Any]:
    """What a manifest says of the C, of the multiplications as ST counts them, and of where its tensors lie."""
    steps = [{"nodes": list(step.nodes), "kernels": list(step.kernels), "macs": step.macs} for step in files.steps]
    return {
        "device": wanted.board.name if wanted.board is not None else None,
        "io": "int8" if wanted.integers else "float32",
        "optimize": wanted.optimize,
        "rounding": wanted.rounding,
        "kernels": wanted.kernels,
        "c": {
            "files": sorted(files.files),
            "hash": files.hash,
            "arena_bytes": files.arena,
            "constant_bytes": files.constants,
            "macs": files.macs,
            "macc": macc,
            "predicted": {f.core: asdict(Memory(f.flash, f.ram, f.compiler)) for f in files.footprints},
            "steps": steps,
            "memory": asdict(memory),
        },
    }


def read_c(manifest: Path) -> MadeC:
    """Raises QdslError artifact-refused for a manifest that is not as it was written."""
    return read_manifest(manifest, MadeC, _flat, "it does not say what its C takes")


def _flat(said: Mapping[str, Any]) -> dict[str, Any]:
    own = {key: said[key] for key in ("optimize", "io")}
    return own | {key: said["c"][key] for key in ("arena_bytes", "constant_bytes", "macc", "predicted", "memory")}
