"""At the outputs: what one rounding alone does to them, and what they would be without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from qdsl.causes.errors import Part, outputs_db
from qdsl.causes.running import Arrays, exposing, loaded
from qdsl.causes.switching import Switch, Switched, fixed
from qdsl.spec.threads import in_order, processors

_MOST_WORKERS = 8

Heard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """What variants are measured with: `expected` are the outputs of the float twin, sample by sample."""

    graph: Switched
    parts: Sequence[Part]
    samples: Sequence[Arrays]
    expected: Sequence[Mapping[str, NDArray[Any]]]

    @classmethod
    def of(cls, graph: Switched, parts: Sequence[Part], samples: Sequence[Arrays]) -> Bench:
        """One for the outputs of `parts`: the float twin is run on every sample."""
        shown = replace(graph, model=exposing(graph.model, [part.output for part in parts]))
        with loaded(fixed(shown, (), on=False)) as variants:
            return cls(shown, parts, samples, [variants.run(arrays, ()) for arrays in samples])

    def alone(self, chosen: Sequence[Switch], heard: Heard) -> list[float | None]:
        """The error of the outputs with each of `chosen` alone quantized, in one run per sample and tensor."""
        return self._errors(fixed(self.graph, chosen, on=False), [(each.flag,) for each in chosen], heard)

    def without(self, chosen: Sequence[Switch], heard: Heard) -> tuple[float | None, list[float | None]]:
        """The error of the outputs with everything quantized, and with everything but each of `chosen`, in one run per
        sample and tensor, and one more per sample."""
        every = [each.flag for each in chosen]
        asked = [tuple(every), *(tuple(flag for flag in every if flag != each.flag) for each in chosen)]
        base, *errors = self._errors(fixed(self.graph, chosen, on=True), asked, heard)
        return base, errors

    def _errors(self, graph: Switched, asked: Sequence[Sequence[str]], heard: Heard) -> list[float | None]:
        """The error of the outputs for each choice of switches that are on."""
        found: list[float | None] = []
        with loaded(graph) as variants:

            def error(on: Sequence[str]) -> float | None:
                ran = (variants.run(arrays, on) for arrays in self.samples)
                return outputs_db(self.parts, zip(self.expected, ran, strict=True))

            for one in in_order(error, asked, min(_MOST_WORKERS, processors()), name="qdsl-causes"):
                found.append(one)
                heard(len(found), len(asked))
        return found
