"""Whom to ask what an engine makes of a file: TensorRT-RTX, which builds one here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from qdsl.diag import Diagnostic, QdslError
from qdsl.engines.rtx.capabilities import capability as capability_named
from qdsl.engines.rtx.capabilities import nearest
from qdsl.engines.rtx.places import require
from qdsl.spec.engine import EngineSeen

RTX = "rtx"
TARGET = "tensorrt"


class Examination(Protocol):
    """What an engine makes of the model in a file. `near` is the compute capability ("8.7") of the GPU that the file is
    for, "" where that is not known: the engine is for the nearest one that can be built for."""

    def __call__(self, path: Path, near: str = "") -> EngineSeen: ...


def examination(engine: str, capability: str | None = None) -> Examination:
    """`engine` is "rtx"; `capability` that of the GPU to build for, None: the one nearest to what is asked. Raises
    QdslError engine-choice, rtx-capability, rtx-absent before anything is looked at."""
    if engine != RTX:
        help = (
            f"`{RTX}` builds one with TensorRT-RTX, without a GPU",
            "the path of a layers.json says what an engine computes that was built elsewhere",
        )
        raise QdslError([Diagnostic("engine-choice", f"there is no engine `{engine[:80]}` to ask", help=help)])
    chosen = None if capability is None else capability_named(capability)
    require()

    def look(path: Path, near: str = "") -> EngineSeen:
        return _rtx(path, chosen or nearest(near))

    return look


def require_target(target: str | None) -> str:
    """The target that an engine is about. Raises QdslError engine-target for another one."""
    if target not in (None, TARGET):
        help = (f"leave `--target` out, or say `--target {TARGET}`",)
        raise QdslError([Diagnostic("engine-target", f"no engine is built for `{str(target)[:80]}`", help=help)])
    return TARGET


def _rtx(path: Path, capability: str) -> EngineSeen:
    from qdsl.engines.rtx.examining import examine
    from qdsl.graph.loading import read_proto

    return examine(read_proto(path)[0], path=path, capability=capability).seen
