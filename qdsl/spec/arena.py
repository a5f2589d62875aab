"""The memory of a network on a microcontroller: what lies where, and during which steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import Count, Many, OneOf, Whole

KINDS = ("input", "tensor", "output", "ring", "scratch")
_MOST = Many(0, 1 << 16)


@dataclass(frozen=True, slots=True)
class Held:
    """`size` bytes from `at` on, from step `first` to step `last`: a tensor, a ring of `rows` rows of one, of which a
    pipeline keeps no more, or scratch. Inputs are there before the first step (-1), outputs after the last one."""

    name: str
    kind: Annotated[str, OneOf(KINDS)]
    at: Count
    size: Count
    first: Annotated[int, Whole(-1)]
    last: Annotated[int, Whole(-1)]
    rows: Count = 0


@dataclass(frozen=True, slots=True)
class Arena:
    """`size` bytes, of which no plan needs fewer than `bound`; `steps` are the tensors that each one computes, in
    order, those of a pipeline together; `held` by when it begins, then by where it lies."""

    size: Count
    bound: Count
    steps: Annotated[tuple[Annotated[tuple[str, ...], Many(1, 1 << 16)], ...], _MOST]
    held: Annotated[tuple[Held, ...], _MOST]

    def problem(self) -> str:
        """What does not go together, in words; "" for nothing."""
        for each in self.held:
            if each.at + each.size > self.size:
                return f"held: expected all of {each.name[:60]!r} in {self.size} bytes"
            if not each.first <= each.last <= len(self.steps):
                return f"held: expected steps of {each.name[:60]!r} from -1 to {len(self.steps)}, in order"
        return ""

    @property
    def pipelines(self) -> int:
        return sum(len(step) > 1 for step in self.steps)
