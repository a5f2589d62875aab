"""The syntax tree: a recipe as written, every node with its span. Names and units are not checked here.

Two trees are equal when they say the same, wherever it stands in a file: spans do not take part in comparing. Built on
a small base class and not on `dataclass`, which would take a tenth of the time that `qdsl check` may take at start.
"""

from __future__ import annotations

from typing import Any, ClassVar, dataclass_transform

from qdsl.diag import Span


@dataclass_transform(frozen_default=True)
class _Frozen:
    """What a frozen dataclass gives, without building code at import."""

    _fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(name for name in cls.__annotations__ if name != "span")

    def __init__(self, span: Span, *values: Any) -> None:
        self.__dict__["span"] = span
        self.__dict__.update(zip(self._fields, values, strict=True))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._said()))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self._said(), strict=True))
        return f"{type(self).__name__}({said})"

    def _said(self) -> tuple[Any, ...]:
        return tuple(self.__dict__[name] for name in self._fields)


class Node(_Frozen):
    """A piece of a recipe, compared without its span."""

    span: Span


# values


class Word(Node):
    name: str


class Text(Node):
    """A quoted text, decoded."""

    value: str


class Number(Node):
    """A number with an optional unit, which may be one that does not exist."""

    value: int | float
    unit: str | None


class Fraction(Node):
    """`1/255`, `1/127.5`."""

    above: int | float
    below: int | float


class UseParam(Node):
    """`$name`."""

    name: str


class ListOf(Node):
    items: tuple[Value, ...]


class Several(Node):
    """What a parameter may stand for: values side by side, such as `percentile 99.99`."""

    items: tuple[Value, ...]


Value = Word | Text | Number | Fraction | UseParam | ListOf | Several


class Setting(Node):
    """`word value .. , value ..`: the values in groups, one group per comma."""

    word: Word
    groups: tuple[tuple[Value, ...], ...]


Settings = tuple[Setting, ...]

# selectors


class Picks(Node):
    parts: tuple[Pick, ...]
    expect: Value | None


class Nth(Node):
    which: str
    count: Value
    of: Pick


class AnyOf(Node):
    parts: tuple[Pick, ...]


class AllOf(Node):
    parts: tuple[Pick, ...]


class Not(Node):
    part: Pick


class Op(Node):
    names: tuple[Value, ...]


class NamedNodes(Node):
    patterns: tuple[Value, ...]


class Matching(Node):
    pattern: Value


class Under(Node):
    scopes: tuple[Value, ...]


class Tensor(Node):
    patterns: tuple[Value, ...]


class Between(Node):
    start: Pick
    end: Pick


class Condition(Node):
    field: Word
    comparison: str
    value: Value


class Named(Node):
    word: Word


class Nested(Node):
    picks: Picks


Pick = Nth | AnyOf | AllOf | Not | Op | NamedNodes | Matching | Under | Tensor | Between | Condition | Named | Nested

# statements


class RecipeName(Node):
    name: Word


class Extends(Node):
    path: Text


class Param(Node):
    name: Word
    value: Value
    choices: ListOf | None


class Model(Node):
    format: Word
    location: Value


class Input(Node):
    name: Text | None
    body: Settings


class Data(Node):
    """`source` and `location` are None where a later file only changes settings."""

    name: Word
    source: Word | None
    location: Value | None
    body: Settings


class Select(Node):
    name: Word
    picks: Picks


class Mode(Node):
    kind: Word
    body: Settings


class Layers(Node):
    picks: Picks
    body: Settings


class Keep(Node):
    picks: Picks
    dtype: Value


class Port(Node):
    name: Word
    picks: Picks


class Edge(Node):
    source: Pick
    target: Pick
    expect: Value | None


class Placing(Node):
    """One line of `place`: action is quantize, leave or share."""

    action: str
    where: Port | Edge | Picks


class Place(Node):
    rules: tuple[Placing, ...]


class Metric(Node):
    name: Word
    qualifiers: tuple[Word | Text, ...]


class Bound(Node):
    metric: Metric
    comparison: str
    value: Value


class Require(Node):
    what: Bound | Metric


class Measure(Node):
    metrics: tuple[Metric, ...]


class Profile(Node):
    metrics: tuple[Metric, ...]
    body: Settings


class Corrupt(Node):
    body: Settings


class Sensitivity(Node):
    method: Word
    data: Word
    body: Settings


class Limit(Node):
    """What `minimize` keeps to, and the data that a metric is held on."""

    bound: Bound
    data: Word | None


class Minimize(Node):
    what: Word
    limits: tuple[Limit, ...]


class Pin(Node):
    picks: Picks
    dtype: Value


class GroupGoal(Node):
    picks: Picks


class Allocate(Node):
    what: Word
    choices: ListOf | None
    body: tuple[Sensitivity | Minimize | Pin | GroupGoal | Setting, ...]


class Improve(Node):
    body: Settings


class Train(Node):
    method: Word
    data: Word | None
    body: Settings


class Tune(Node):
    goal: Word
    data: Word | None
    body: tuple[Require | Setting, ...]


class Use(Node):
    path: Text
    order: str
    stage: Word


class Passes(Node):
    uses: tuple[Use, ...]


class Allow(Node):
    code: Word
    picks: Picks
    because: Text


class Target(Node):
    name: Word
    body: tuple[Mode | Layers | Keep | Place | Allow | Passes | Profile | Require | Setting, ...]


class Evaluate(Node):
    task: Word
    data: Word
    body: tuple[Measure | Profile | Corrupt | Require | Setting, ...]


Statement = (
    RecipeName
    | Extends
    | Param
    | Model
    | Input
    | Data
    | Select
    | Mode
    | Layers
    | Keep
    | Place
    | Allocate
    | Improve
    | Train
    | Tune
    | Target
    | Evaluate
    | Passes
    | Allow
)


class File(Node):
    """One recipe file. `text` is its source without a byte order mark."""

    statements: tuple[Statement, ...]
