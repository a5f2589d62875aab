"""Forms of weights that a kernel takes and computes with slowly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec import Scheme
from qdsl.spec.bounds import OneOf, Sentence, SomeTexts


@dataclass(frozen=True, slots=True)
class Slow:
    """One rule of a table: weights of `kind` and `granularity` are slow in `kernels`, at all nodes or at those that
    `nodes` names; `because` says how slow, `instead` is the form to write."""

    name: Sentence
    kernels: SomeTexts
    kind: Annotated[str, OneOf(("symmetric", "affine"))]
    granularity: Annotated[str, OneOf(("per_tensor", "per_channel"))]
    instead: Sentence
    because: Sentence
    evidence: Sentence
    nodes: Annotated[str, OneOf(("any", "depthwise"))] = "any"

    def speaks_of(self, scheme: Scheme) -> bool:
        """Whether weights of `scheme` have this form."""
        kind = "symmetric" if scheme.symmetric else "affine"
        return not scheme.storage_only and (kind, scheme.granularity.value) == (self.kind, self.granularity)
