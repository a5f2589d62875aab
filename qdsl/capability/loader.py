"""Reads and checks a target's table. Strict: an unknown key, a wrong type or a missing reason is an error."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from qdsl.capability.alternatives import ALL, BY_RANGES, BY_TIMING, DECIDED, EDITS, REGIONS, SHARED, Alternative
from qdsl.capability.dynamic import read_dynamic
from qdsl.capability.flat import read_flats
from qdsl.capability.float16 import read_halves, read_multiples
from qdsl.capability.model import (
    ABSORBED,
    ACTIVATION,
    COMPUTE,
    FLOAT,
    MOVES,
    WEIGHT,
    Capability,
    ChannelAxis,
    Merge,
    RoleTypes,
    Row,
    TypeRow,
    WeightOnly,
    index_rows,
)
from qdsl.capability.slow import read_slow
from qdsl.capability.store import read_stores
from qdsl.capability.sums import read_cpus, read_sums
from qdsl.capability.when import When
from qdsl.spec import DTYPES, DType, Granularity

_T = TypeVar("_T")
_KINDS = (COMPUTE, MOVES, FLOAT, ABSORBED)
_OUTPUTS = ("required", "optional", "none")
_RUNS = ("integer", "stored", "no")
_MAX_BYTES = 1 << 20


class TableError(ValueError):
    """A table breaks its own rules: the message names the file, the row and the key."""


@cache
def load(name: str = "ort_cpu") -> Capability:
    """The capability table called `name`, from the package. TableError when there is none or it is not well formed."""
    if name not in names():
        raise TableError(f"no capability table {name}; there are: {', '.join(names())}")
    return loads((resources.files("qdsl.capability") / f"{name}.toml").read_text(encoding="utf-8"), name)


def names() -> tuple[str, ...]:
    """The tables that are there, sorted."""
    files = resources.files("qdsl.capability").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def loads(text: str, name: str) -> Capability:
    """A table from its text. TableError names the row and key at fault."""
    if len(text) > _MAX_BYTES:
        raise TableError(f"{name}.toml: more than {_MAX_BYTES} bytes")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"{name}.toml: {error}") from error
    return _capability(_Table(f"{name}.toml", raw), name)


class _Table:
    """A TOML table being consumed: every key is taken once, and `done` refuses what is left."""

    def __init__(self, where: str, raw: Any) -> None:
        if not isinstance(raw, dict):
            raise TableError(f"{where}: expected a table")
        self.where = where
        self._raw: dict[str, Any] = dict(raw)

    def fail(self, message: str) -> TableError:
        return TableError(f"{self.where}: {message}")

    def has(self, key: str) -> bool:
        return key in self._raw

    def _take(self, key: str, kind: type, default: Any) -> Any:
        if key not in self._raw:
            if default is None:
                raise self.fail(f"`{key}` is missing")
            return default
        value = self._raw.pop(key)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.fail(f"`{key}` must be {_KIND_WORDS[kind]}, not {value!r}")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        return str(self._take(key, str, default))

    def sentence(self, key: str) -> str:
        value = self.text(key)
        if not value.strip():
            raise self.fail(f"`{key}` is empty")
        return value

    def number(self, key: str, default: int | None = None) -> int:
        return int(self._take(key, int, default))

    def real(self, key: str) -> float | None:
        """A number with or without decimals; None where there is none."""
        if key not in self._raw:
            return None
        value = self._raw.pop(key)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.fail(f"`{key}` must be a number, not {value!r}")
        return float(value)

    def flag(self, key: str, default: bool | None = None) -> bool:
        return bool(self._take(key, bool, default))

    def word(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self.text(key, default)
        if value not in allowed:
            raise self.fail(f"`{key}` must be one of {', '.join(allowed)}, not {value!r}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(self._items(key, str))

    def numbers(self, key: str) -> tuple[int, ...]:
        return tuple(self._items(key, int))

    def _items(self, key: str, kind: type) -> list[Any]:
        items: list[Any] = self._take(key, list, [])
        if not all(isinstance(item, kind) and not isinstance(item, bool) for item in items):
            raise self.fail(f"`{key}` must be a list of {_KIND_WORDS[kind]}")
        return items

    def table(self, key: str) -> _Table:
        return _Table(f"{self.where}, {key}", self._take(key, dict, {}))

    def tables(self, key: str) -> list[_Table]:
        return [_Table(f"{self.where}, {key} {_label(raw, i)}", raw) for i, raw in enumerate(self._take(key, list, []))]

    def left(self) -> tuple[str, ...]:
        return tuple(self._raw)

    def done(self) -> None:
        if self._raw:
            raise self.fail(f"unknown key `{sorted(self._raw)[0]}`")


_KIND_WORDS = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a table"}


def _label(raw: Any, index: int) -> str:
    found = raw.get("name", raw.get("dtype")) if isinstance(raw, dict) else None
    return str(found) if found else f"number {index + 1}"


def _capability(table: _Table, name: str) -> Capability:
    if table.number("format") != 1:
        raise table.fail("`format` must be 1")
    rows = tuple(_row(raw) for raw in table.tables("row"))
    types = {row.dtype.name: row for row in (_type_row(raw) for raw in table.tables("type"))}
    cpus = read_cpus(table.tables("cpu"))
    reasons_table = table.table("reasons")
    reasons = {key: reasons_table.sentence(key) for key in reasons_table.left()}
    made = Capability(
        name=name,
        title=table.sentence("title"),
        evidence=table.sentence("evidence"),
        min_opset=table.number("min_opset"),
        max_opset=table.number("max_opset"),
        rows=rows,
        types=types,
        widths=_widths(table.table("widths"), types),
        reasons=reasons,
        signed_pairs=table.flag("signed_pairs", False),
        spread=table.texts("spread"),
        spread_past_outputs=table.texts("spread_past_outputs"),
        moved_through=table.texts("moved_through"),
        signed_spread_max_opset=_optional(table, "signed_spread_max_opset"),
        halves=read_halves(table.tables("half")),
        flats=read_flats(table.tables("flat")),
        slow=read_slow(table.tables("slow")),
        stores=read_stores(table.tables("store")),
        merges_equal=table.flag("merges_equal", False),
        merges=tuple(_merge(raw) for raw in table.tables("merge")),
        dynamic=read_dynamic(table.tables("dynamic")),
        cpus=cpus,
        sums=read_sums(table.tables("sums"), cpus),
        alternatives=tuple(_alternative(raw) for raw in table.tables("alternative")),
        _by_op=index_rows(rows),
    )
    table.done()
    _check_whole(table, made)
    return made


def _check_whole(table: _Table, made: Capability) -> None:
    seen: set[str] = set()
    for row in made.rows:
        if row.name in seen:
            raise table.fail(f"two rows are called {row.name}")
        seen.add(row.name)
        for key in row.requires:
            if key not in made.reasons:
                raise table.fail(f"row {row.name} requires `{key}`, which [reasons] does not explain")
    if not made.rows or made.rows[-1].ops != ("*",):
        raise table.fail('the last row must have ops = ["*"]: it speaks of every other operator')


def _widths(table: _Table, types: Mapping[str, TypeRow]) -> dict[str, dict[int, DType]]:
    found: dict[str, dict[int, DType]] = {}
    for role in (ACTIVATION, WEIGHT):
        part = table.table(role)
        found[role] = {int(bits): _dtype(part, part.text(bits)) for bits in part.left()}
        for bits, dtype in found[role].items():
            if dtype.bits != bits or dtype.name not in types:
                raise part.fail(f"`{bits}` names {dtype}, which is not a {bits} bit type of this table")
    table.done()
    return found


def _type_row(table: _Table) -> TypeRow:
    made = TypeRow(
        dtype=_dtype(table, table.text("dtype")),
        activation=_role(table.table(ACTIVATION)),
        weight=_role(table.table(WEIGHT)),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
        alone=table.flag("alone", False),
    )
    table.done()
    return made


def _role(table: _Table) -> RoleTypes:
    granularities = tuple(_granularity(table, word) for word in table.texts("granularities"))
    made = RoleTypes(
        runs=table.word("runs", _RUNS),
        symmetric=table.flag("symmetric", True),
        granularity=granularities[0] if granularities else Granularity.PER_TENSOR,
        granularities=granularities,
    )
    table.done()
    return made


def _row(table: _Table) -> Row:
    made = Row(
        name=table.sentence("name"),
        ops=table.texts("ops"),
        domain=table.text("domain", ""),
        kind=table.word("kind", _KINDS),
        kernel=table.text("kernel", ""),
        float_output_kernel=table.text("float_output_kernel", ""),
        when=_when(table.table("when")),
        variadic=table.flag("variadic", False),
        activations=table.numbers("activations"),
        weights=table.numbers("weights"),
        bias=_optional(table, "bias"),
        output=table.word("output", _OUTPUTS, "none"),
        activation_types=_listed(table, "activation_types", _dtype),
        weight_types=_listed(table, "weight_types", _dtype),
        weight_granularities=_listed(table, "weight_granularities", _granularity),
        channel_axis=_channel_axis(table.table("channel_axis")) if table.has("channel_axis") else None,
        same_type=table.flag("same_type", True),
        absorbs=table.texts("absorbs"),
        requires=table.texts("requires"),
        weight_only=_weight_only(table.table("weight_only")) if table.has("weight_only") else None,
        runtime_weight=_dtype(table, table.text("runtime_weight")) if table.has("runtime_weight") else None,
        runtime_scalars=table.flag("runtime_scalars", False),
        joins=_listed(table, "joins", _dtype),
        lowered=table.flag("lowered", False),
        beyond_kernel=table.text("beyond_kernel", ""),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    _check_row(table, made)
    return made


def _check_row(table: _Table, row: Row) -> None:
    """A row that computes says everything the predictor asks of it; one that does not says nothing more."""
    if not row.ops:
        raise table.fail("`ops` is empty")
    if row.kind == COMPUTE and not (row.kernel and row.activation_types and row.output_quantized):
        raise table.fail("a `compute` row needs `kernel`, `activation_types` and an `output`")
    if row.kind == MOVES and not (row.activation_types and row.activations):
        raise table.fail("a `moves` row needs `activations` and `activation_types`")
    if row.kind in (FLOAT, ABSORBED) and (row.kernel or row.weights or row.activation_types):
        raise table.fail(f"a `{row.kind}` row has no kernel, weights or types")
    if bool(row.weights) != bool(row.weight_types and row.weight_granularities and row.channel_axis):
        raise table.fail("`weights`, `weight_types`, `weight_granularities` and `channel_axis` go together")
    if row.float_output_kernel and row.output != "optional":
        raise table.fail("`float_output_kernel` needs an optional `output`")
    if row.joins and not row.variadic:
        raise table.fail("`joins` needs `variadic`")
    if row.lowered and row.kind != COMPUTE:
        raise table.fail("`lowered` is for rows that compute")


def _when(table: _Table) -> When:
    attrs = table.table("attrs")
    made = When(
        min_opset=_optional(table, "min_opset"),
        max_opset=_optional(table, "max_opset"),
        attrs={key: attrs.texts(key) for key in attrs.left()},
        constant_ports=table.numbers("constant_ports"),
        ranks=table.numbers("ranks"),
        max_outputs=_optional(table, "max_outputs"),
    )
    table.done()
    return made


def _channel_axis(table: _Table) -> ChannelAxis:
    by_value = table.table("by_value")
    made = ChannelAxis(
        axis=table.number("axis"),
        attr=table.text("attr", ""),
        by_value={key: by_value.number(key) for key in by_value.left()},
    )
    table.done()
    return made


def _merge(table: _Table) -> Merge:
    made = Merge(
        first=table.sentence("first"),
        seconds=table.texts("seconds"),
        stays=table.word("stays", ("first", "second", "both")),
        op=table.text("op", ""),
        check=table.sentence("check"),
        because=table.sentence("because"),
    )
    table.done()
    return made


def _alternative(table: _Table) -> Alternative:
    made = Alternative(
        name=table.sentence("name"),
        edit=table.word("edit", EDITS),
        ops=table.texts("ops"),
        when=_when(table.table("when")),
        regions=table.word("regions", REGIONS, ALL),
        most=table.number("most", 1),
        through=table.texts("through"),
        decided_by=table.word("decided_by", DECIDED, BY_TIMING),
        keeps_steps=table.number("keeps_steps", 100),
        because=table.sentence("because"),
        evidence=table.sentence("evidence"),
    )
    table.done()
    if not made.ops or made.most < 1 or not 1 <= made.keeps_steps <= 100:
        raise table.fail("`ops` is empty, or `most` or `keeps_steps` is out of range")
    if made.decided_by == BY_RANGES and made.edit != SHARED:
        raise table.fail("only a `share` can be decided by ranges")
    return made


def _weight_only(table: _Table) -> WeightOnly:
    made = WeightOnly(
        kernel=table.sentence("kernel"),
        types=_listed(table, "types", _dtype),
        granularities=_listed(table, "granularities", _granularity),
        blocks=table.numbers("blocks"),
        because=table.sentence("because"),
        when=_when(table.table("when")),
        lowered=table.texts("lowered"),
        columns=read_multiples(table.table("columns")),
    )
    table.done()
    return made


def _optional(table: _Table, key: str) -> int | None:
    return table.number(key) if table.has(key) else None


def _listed(table: _Table, key: str, convert: Callable[[_Table, str], _T]) -> tuple[_T, ...]:
    return tuple(convert(table, word) for word in table.texts(key))


def _dtype(table: _Table, word: str) -> DType:
    if word not in DTYPES:
        raise table.fail(f"{word!r} is no number type")
    return DTYPES[word]


def _granularity(table: _Table, word: str) -> Granularity:
    try:
        return Granularity(word)
    except ValueError:
        raise table.fail(f"{word!r} is no granularity") from None
