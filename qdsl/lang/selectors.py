"""Selectors as data: which nodes (or tensors) a rule speaks of. Evaluated over a graph by `qdsl.select.connections`."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.diag import Span


@dataclass(frozen=True, slots=True)
class Picks:
    """Selectors joined by `,`, with the count that `expect` demands (None: any count but zero)."""

    parts: tuple[Selector, ...]
    expect: int | None
    span: Span
    expect_span: Span | None = None


@dataclass(frozen=True, slots=True)
class Nth:
    """`first N of X` / `last N of X`, in topological order of the canonical graph."""

    which: str  # "first" or "last"
    count: int
    of: Selector
    span: Span


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`A or B`."""

    parts: tuple[Selector, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class AllOf:
    """`A and B`."""

    parts: tuple[Selector, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    """`not A`."""

    part: Selector
    span: Span


@dataclass(frozen=True, slots=True)
class Op:
    """Nodes whose operator is one of `names`; each is `(name, where it stands)`."""

    names: tuple[tuple[str, Span], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class NameGlob:
    """Nodes by name: `*` any run of characters (`/` included), `?` one character; everything else is literal."""

    patterns: tuple[tuple[str, Span], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Matching:
    """Nodes whose name contains a match of a regular expression."""

    pattern: str
    span: Span


@dataclass(frozen=True, slots=True)
class Under:
    """Nodes inside module scopes such as `/model.22` (an exact scope, or nodes below it)."""

    scopes: tuple[tuple[str, Span], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class TensorGlob:
    """Tensors by name, graph inputs included; patterns as in `NameGlob`."""

    patterns: tuple[tuple[str, Span], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Between:
    """Nodes on a path from a node of `start` to a node of `end`, both ends included."""

    start: Selector
    end: Selector
    span: Span


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition such as `out_channels < 16` or `kernel == [1, 1]`."""

    field: str
    comparison: str
    value: int | float | str | tuple[int | float | str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Named:
    """A structural predicate (`all`, `depthwise`, `residual_add`, ...), or with `definition` a `select`."""

    name: str
    definition: Picks | None
    span: Span


@dataclass(frozen=True, slots=True)
class Group:
    """A parenthesised `( X, Y expect N )`."""

    picks: Picks
    span: Span


Selector = (
    Nth | AnyOf | AllOf | Not | Op | NameGlob | Matching | Under | TensorGlob | Between | Condition | Named | Group
)

PREDICATES: tuple[str, ...] = (
    "all",
    "depthwise",
    "pointwise",
    "activation",
    "silu",
    "gelu",
    "layer_norm",
    "residual_add",
    "decode_head",
)
CONDITIONS: tuple[str, ...] = ("in_channels", "out_channels", "groups", "kernel", "stride", "elements")
