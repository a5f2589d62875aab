"""The base of the rewrites of `--fix`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import onnx_graphsurgeon as gs

from qdsl.finished.records import Finished, QuantizedTensor
from qdsl.graph import Model
from qdsl.rewrite import Outcome, Rewrite


@dataclass(frozen=True)  # without slots: what is derived is kept
class FixOf(Rewrite):
    """Options: the file as it was read, whose nodes and tensors are found by name, and what is to stay as it is."""

    finished: Finished = field(repr=False)
    spared: frozenset[str] = frozenset()

    name: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.name

    def apply(self, model: Model) -> Outcome:
        raise NotImplementedError

    @cached_property
    def at(self) -> dict[str, QuantizedTensor]:
        """The record that each Q and DQ node belongs to."""
        return {name: record for record in self.finished.tensors for name in (*record.quantizers, *record.dequantizers)}

    def spares(self, *names: str) -> bool:
        return not self.spared.isdisjoint(names)

    def quantizing(self, model: Model, *ops: str) -> Iterator[gs.Node]:
        """The nodes of `ops` that belong to a record and are not spared, in graph order."""
        for node in model.nodes():
            if node.op in ops and node.name in self.at and not self.spares(node.name, self.at[node.name].tensor):
                yield node
