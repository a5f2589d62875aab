"""What the parser or the builder of an engine refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.rule import Audited
from qdsl.auditing.telling import shown
from qdsl.diag import Severity
from qdsl.spec.engine import BUILD, EngineRefusal

_WIDEST = 300


class Check:
    id: ClassVar[str] = "engine_refused"
    summary: ClassVar[str] = "the parser or the builder of an engine refuses the node, or the file"
    explanation: ClassVar[str] = (
        "No engine is built of the file. The words are those of the software that was asked (`--engine`): the parser "
        "of TensorRT-RTX 1.7.1 is that of TensorRT from 10.11 on. A parser stops at the first node that it refuses; "
        "each other one that holds integers is asked about by itself."
    )
    severity: ClassVar[Severity] = Severity.ERROR
    targets: ClassVar[tuple[str, ...]] = ("tensorrt",)

    def check(self, audited: Audited) -> Iterator[Finding]:
        seen = audited.engine
        if seen is None:
            return
        by = "builder" if seen.stage == BUILD else "parser"
        order = {node.name: number for number, node in enumerate(audited.finished.view.nodes)}
        for each in sorted(seen.refused, key=lambda one: order.get(one.node, -1)):
            place = Place("node", each.node) if each.node in order else Place("file")
            yield Finding(self.id, Severity.ERROR, place, self._message(each, by), f"{seen.source}: no engine is built")

    def _message(self, each: EngineRefusal, by: str) -> str:
        what = shown(each.node) if each.node else "the file"
        where = f" ({each.function})" if each.function else ""
        return f"{what} is refused by the {by}: {_shortened(each)}{where}"


def _shortened(each: EngineRefusal) -> str:
    """The first words of it, on one line, without the node's name, which stands before."""
    text = each.text.removeprefix("Invalid Node - ").removeprefix(each.node)
    line = " ".join((text.replace(f"{each.node}: ", "") if each.node else text).split())
    return line if len(line) <= _WIDEST else f"{line[:_WIDEST]}.."
