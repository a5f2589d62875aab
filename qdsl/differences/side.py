"""One side of a comparison, as data: what a recipe, a plan, a lock or a model says of nodes, tensors and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Node:
    """What runs of a node: `runs` as predictions say it, `weights` the type of its weights and `reads` that of the
    activations it reads, "" where they are float. `attributes` are those that are not left to their defaults, in
    words; `sources` what each input port reads: `/conv1:0`, `input x`, `constant`, "" for none. A plan has neither."""

    op: str
    runs: str
    weights: str = ""
    reads: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    sources: tuple[str, ...] = ()

    def __str__(self) -> str:
        types = [f"{self.weights} weights"] if self.weights else []
        types += [f"{self.reads} in"] if self.reads else []
        return f"{self.runs} ({', '.join(types)})" if types else self.runs


@dataclass(frozen=True, slots=True)
class Tensor:
    """A quantized tensor: its scheme in words ("uint8 affine per_tensor"), who reads it dequantized, with whom it
    shares its scale. `scales` and `zeros` are empty where only data decides them; `low` and `high` are the range where
    a lock has it."""

    scheme: str
    readers: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    zeros: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Weight:
    """A stored constant that a node reads: its scheme ("float32" where it is float), its scales, and a digest of what
    is stored; "" where that is not known."""

    scheme: str
    scales: tuple[float, ...] = ()
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """`name` as it was asked for; `kind` "recipe", "plan", "lock" or "model". Weights are by "node:port". `lines` is
    the text by which the side says what it wants or was made from: statements of a recipe, facts of a lock, inputs and
    outputs of a model. `macs` counts the multiply-accumulates that are known, `integer_macs` those that multiply
    integers; `size` is in bytes, and `foreseen` where the file is not there yet. `why` says why there are no nodes,
    where there are none."""

    name: str
    kind: str
    target: str = ""
    nodes: Mapping[str, Node] = field(default_factory=dict)
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    weights: Mapping[str, Weight] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    macs: int | None = None
    integer_macs: int | None = None
    size: int | None = None
    foreseen: bool = False
    why: str = ""
