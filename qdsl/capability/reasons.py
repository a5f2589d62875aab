"""Which sentences a table has to bring along: those that planning and the predictor say of it by key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdsl.capability.rows import Row

ALWAYS = (
    *("input_float", "weight_float", "activation_type", "weight_type", "weight_granularity", "scale_differs"),
    *("output_float", "output_shared", "output_graph", "output_twice", "output_types", "type_mix", "not_redundant"),
    *("zero_point", "computed_scale", "many_scales"),
    *("bias_type", "bias_float", "on_graph_input", "folded", "no_float", "no_weight_only", "vector_blocks"),
)
_SIGNED = ("unsigned", "signed_shared", "signed_weight")
_DYNAMIC = ("none", "weight", "input", "left", "vector", "long", "vector_add")


def said(rows: Iterable[Row], *, signed: bool, dynamic: bool, more: Iterable[str] = ()) -> Iterator[str]:
    """The keys. `signed`: signed pairs are turned into unsigned ones; `dynamic`: there are rules for dynamic builds;
    `more`: keys of what else the table says."""
    yield from ALWAYS
    yield from _SIGNED if signed else ()
    yield from (f"dynamic_{key}" for key in _DYNAMIC if dynamic)
    yield from more
    for row in rows:
        yield from ("runtime_weight",) if row.runtime_weight is not None or row.runtime_scalars else ()
        yield from ("not_lowered", "rises") if row.lowered else ()
        if row.weight_only is not None:
            yield from ("weight_only", "columns") if row.weight_only.columns else ("weight_only",)
