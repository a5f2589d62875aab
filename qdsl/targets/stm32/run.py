"""An artifact, ready to answer samples on this machine as its C does on a board, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import onnx

from qdsl.integer.rounding import Rounding
from qdsl.spec.bounds import OneOf, Text
from qdsl.targets.base import Runner
from qdsl.targets.manifest_reading import read_manifest
from qdsl.targets.results import Emitted, NotHere
from qdsl.targets.stm32 import on_core
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.boards import BOARDS, board_named
from qdsl.targets.stm32.emulated.installed import tools
from qdsl.targets.stm32.golden import Golden
from qdsl.targets.stm32.making import integer_graph


@dataclass(frozen=True, slots=True)
class _Made:
    """What the C was made of and for, as the manifest says it."""

    recipe: Annotated[str, Text(300)]
    device: Annotated[str, OneOf(tuple(board.name for board in BOARDS.values()))] | None
    io: Annotated[str, OneOf(("int8", "float32"))]
    optimize: Annotated[str, OneOf(("speed", "ram"))]
    rounding: Annotated[str, OneOf(("ort", "tflite"))]
    kernels: Annotated[str, OneOf(("own", "cmsis_nn"))]

    @property
    def wanted(self) -> Asked:
        board = board_named(self.device) if self.device is not None else None
        rounding: Rounding = "tflite" if self.rounding == "tflite" else "ort"
        kernels: Literal["own", "cmsis_nn"] = "cmsis_nn" if self.kernels == "cmsis_nn" else "own"
        return Asked(board, "ram" if self.optimize == "ram" else "speed", rounding, kernels, self.io == "int8")


def runner(emitted: Emitted, *, as_written: bool = False) -> Runner:
    """Its C on an emulated core where one is here, else, and `as_written`, its integer graph. Both take and answer
    floats. Raises QdslError artifact-refused for a manifest or C that is not as it was written, stm32-no-form, and what
    `on_core` raises."""
    if as_written or tools().missing:
        return golden(emitted)
    made = _made(emitted)
    graph = integer_graph(onnx.load(emitted.model), made.recipe, made.wanted, emitted.span)
    found = on_core.runner(emitted, graph, made.wanted)
    return golden(emitted) if isinstance(found, NotHere) else found


def golden(emitted: Emitted) -> Golden:
    """Its integer graph, which takes and answers floats, whatever the C's inputs and outputs are. Raises QdslError
    artifact-refused for a manifest that is not as it was written, stm32-no-form."""
    made = _made(emitted)
    graph = integer_graph(onnx.load(emitted.model), made.recipe, Asked(), emitted.span)
    return Golden(graph, made.wanted.rounding, span=emitted.span)


def _made(emitted: Emitted) -> _Made:
    def pick(said: Any) -> Any:
        return {key: said[key] for key in ("recipe", "device", "io", "optimize", "rounding", "kernels")}

    return read_manifest(emitted.manifest, _Made, pick, "it does not say what the C was made for")
