"""Axes that count from the end of a tensor of unknown rank."""

from __future__ import annotations

from typing import ClassVar

from qdsl.auditing.faulty import Faulty


class Check(Faulty):
    id: ClassVar[str] = "axis_unknown"
    summary: ClassVar[str] = "the axis of the scales counts from the end of a tensor of unknown rank"
    explanation: ClassVar[str] = (
        "Neither tools nor people can tell which axis is meant; runtimes find out when they run. A negative axis "
        "counts from the end, and the graph does not say how many axes the tensor has. Write the axis from the front, "
        "or give the tensor a shape."
    )
    comes_of_it: ClassVar[str] = "what the scales lie along cannot be told before the model runs"
