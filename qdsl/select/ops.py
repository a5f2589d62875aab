"""Which words are operators: ONNX's schemas, read only when a recipe names an operator that the graph does not have."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from qdsl.diag import nearest

# Gone before selectors are read: canonicalisation folds or removes them.
_FOLDED = {
    "BatchNormalization": "`BatchNormalization` is folded into the Conv before it where it can be",
    "Constant": "a `Constant` is no node here: constants are inputs of the nodes that read them",
    "Dropout": "`Dropout` does nothing at inference and is removed",
    "Identity": "`Identity` does nothing and is removed",
}


@cache
def _schemas() -> frozenset[str]:
    from onnx import defs

    return frozenset(schema.name for schema in defs.get_all_schemas())


def is_operator(name: str) -> bool:
    """Whether some ONNX operator set, of any domain, has an operator of this name."""
    return name in _schemas()


def nearest_operator(name: str, present: Iterable[str]) -> tuple[str, ...]:
    """Operators spelled most like `name`, letter case aside; those of the graph come first."""
    here = {op.lower(): op for op in sorted(present)}
    everywhere = {op.lower(): op for op in sorted(_schemas())} | here
    found = [here[close] for close in nearest(name.lower(), here)]
    found += [everywhere[close] for close in nearest(name.lower(), everywhere)]
    exact = everywhere.get(name.lower())
    return (exact,) if exact else tuple(dict.fromkeys(found))[:2]


def why_absent(names: Iterable[str]) -> tuple[str, ...]:
    """Why operators that a model file may hold are not in the canonical graph."""
    return tuple(_FOLDED[name] for name in names if name in _FOLDED)
