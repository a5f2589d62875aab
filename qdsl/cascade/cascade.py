"""The cascade: which rules speak of a node or tensor, in order, and what they add up to.

Later wins, setting by setting. The mode (`quantize static { ... }`, with what the target block changes in it) is the
start; the rules of the recipe follow in source order, those of the target block come last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from qdsl.cascade.rule_words import Origins
from qdsl.diag import Span
from qdsl.graph.view import GraphView
from qdsl.lang.recipe import (
    Calibrate,
    FixedRange,
    KeepRule,
    LayersRule,
    Mode,
    PlaceRule,
    Recipe,
    Settings,
    Target,
    TypeRequest,
)
from qdsl.select.selection import Selection
from qdsl.spec import DType
from qdsl.spec.plan import Origin

SETTINGS = ("weights", "activations", "calibrate", "range")
Value = TypeRequest | Calibrate | FixedRange


@dataclass(frozen=True, slots=True)
class Spoken:
    """One `layers` or `keep` rule with what it picks in this graph."""

    rule: LayersRule | KeepRule
    origin: Origin
    nodes: tuple[int, ...]
    tensors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Voice:
    """One statement that says something of a setting. `rule` is its place in the cascade, -1 for the mode."""

    rule: int
    value: Value
    origin: Origin

    @property
    def span(self) -> Span:
        return self.value.span


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a chain of voices adds up to. `value` is None when nobody spoke; `explicit`: a rule spoke, not only the
    mode."""

    value: Value | None
    voices: tuple[Voice, ...]

    @property
    def explicit(self) -> bool:
        return bool(self.voices) and self.voices[-1].rule >= 0


@dataclass(frozen=True)
class Cascade:
    """The rules over one graph. Look-ups are cached per set of rules: 20,000 nodes cost what a few rules cost."""

    mode: Mode
    mode_origins: dict[str, Origin]
    spoken: tuple[Spoken, ...]
    node_rules: tuple[tuple[int, ...], ...]
    tensor_rules: dict[str, tuple[int, ...]]
    _cache: dict[tuple[str, tuple[int, ...]], Resolved] = field(default_factory=dict, repr=False)

    def rules(self, nodes: Iterable[int], tensor: str | None = None) -> tuple[int, ...]:
        """The rules that speak of any of `nodes`, or of `tensor` by name, in order."""
        found: set[int] = set(self.tensor_rules.get(tensor, ())) if tensor else set()
        for node in nodes:
            found.update(self.node_rules[node])
        return tuple(sorted(found))

    def resolve(self, what: str, rules: tuple[int, ...]) -> Resolved:
        """What the mode and `rules` say of the setting `what`."""
        key = (what, rules)
        if key not in self._cache:
            self._cache[key] = self._resolve(what, rules)
        return self._cache[key]

    def kept(self, node: int) -> Spoken | None:
        """The last `keep` rule that picks `node`."""
        found = [self.spoken[i] for i in self.node_rules[node] if isinstance(self.spoken[i].rule, KeepRule)]
        return found[-1] if found else None

    def kept_in(self, node: int) -> DType | None:
        """The type of the last `keep` rule that picks `node`."""
        spoken = self.kept(node)
        return spoken.rule.dtype if spoken is not None and isinstance(spoken.rule, KeepRule) else None

    def _resolve(self, what: str, rules: tuple[int, ...]) -> Resolved:
        voices = []
        start = getattr(self.mode.settings, what)
        if start is not None:
            voices.append(Voice(-1, start, self.mode_origins[what]))
        for i in rules:
            rule = self.spoken[i].rule
            said = getattr(rule.settings, what) if isinstance(rule, LayersRule) else None
            if said is not None:
                voices.append(Voice(i, said, replace(self.spoken[i].origin, line=said.span.line)))
        value: Value | None = None
        for voice in voices:
            value = merge(value, voice.value)
        return Resolved(value, tuple(voices))


def merge(base: Value | None, over: Value) -> Value:
    """`over` on top of `base`. Types merge field by field; `N bit` starts over, since it leaves all else to the target;
    a `calibrate METHOD` without `on` keeps the data."""
    if isinstance(over, TypeRequest) and isinstance(base, TypeRequest):
        return _merge_types(base, over)
    if isinstance(over, Calibrate) and isinstance(base, Calibrate) and over.data is None and over.cache is None:
        return replace(over, data=base.data)
    return over


def _merge_types(base: TypeRequest, over: TypeRequest) -> TypeRequest:
    if over.bits is not None:
        return over
    regrained = over.granularity is not None
    return TypeRequest(
        span=over.span,
        dtype=over.dtype if over.dtype is not None else base.dtype,
        bits=None if over.dtype is not None else base.bits,
        symmetric=over.symmetric if over.symmetric is not None else base.symmetric,
        granularity=over.granularity if regrained else base.granularity,
        block=over.block if regrained else base.block,
        reduce_range=over.reduce_range if over.reduce_range is not None else base.reduce_range,
        storage_only=over.storage_only if over.storage_only is not None else base.storage_only,
        level=over.level,
    )


def merge_modes(base: Mode, over: Mode | None) -> Mode:
    """A target block's mode over the recipe's: another kind starts over, the same kind changes what it sets."""
    if over is None or over.kind != base.kind:
        return over or base
    merged: dict[str, Value | None] = {}
    for what in SETTINGS:
        said = getattr(over.settings, what)
        known = getattr(base.settings, what)
        merged[what] = known if said is None else merge(known, said)
    return replace(over, settings=Settings(**merged))  # type: ignore[arg-type]


def all_rules(recipe: Recipe, target: Target | None) -> tuple[LayersRule | KeepRule | PlaceRule, ...]:
    """Every rule that holds for `target`, in the order in which they are read."""
    return recipe.rules + (target.rules if target else ())


def build(recipe: Recipe, target: Target | None, mode: Mode, view: GraphView, selection: Selection) -> Cascade:
    """The cascade of one recipe and target over `view`. Selectors that find nothing are reported by `selection`."""
    origins = Origins(recipe)
    spoken = []
    for rule in all_rules(recipe, target):
        if isinstance(rule, PlaceRule):
            continue
        nodes, tensors = selection.nodes_and_tensors(rule.picks)
        origin = origins.of_keep(rule) if isinstance(rule, KeepRule) else origins.of_layers(rule)
        spoken.append(Spoken(rule, origin, nodes, tensors))
    node_rules: list[list[int]] = [[] for _ in view.nodes]
    tensor_rules: dict[str, list[int]] = {}
    for i, one in enumerate(spoken):
        for node in one.nodes:
            node_rules[node].append(i)
        for tensor in one.tensors:
            tensor_rules.setdefault(tensor, []).append(i)
    said = {w: getattr(mode.settings, w) for w in SETTINGS}
    mode_origins = {w: origins.of_mode(mode, v.span) for w, v in said.items() if v is not None}
    return Cascade(
        mode=mode,
        mode_origins=mode_origins,
        spoken=tuple(spoken),
        node_rules=tuple(tuple(r) for r in node_rules),
        tensor_rules={name: tuple(r) for name, r in tensor_rules.items()},
    )
