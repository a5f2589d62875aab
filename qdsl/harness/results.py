"""What evaluating returns. Plain data, loaded without numpy or a runtime; annotations say how it stands in a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from qdsl.spec.bounds import FILE_NAME, SPARE, Check, Count, Figure, Finite, Keyed, Match, Stands, Via, Whole

FLOAT = "float"  # the name of the float model among the builds
_CELLS = 256  # the longest side of a class map


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A figure by name: a metric, of a class or an output where `of` names one."""

    metric: str
    of: str = ""

    def __str__(self) -> str:
        return f'{self.metric} "{self.of}"' if self.of else self.metric

    @staticmethod
    def parse(text: str) -> Key:
        """What `str` made a text of."""
        metric, quoted, of = text.partition(' "')
        return Key(metric, of.removesuffix('"')) if quoted else Key(metric)


@dataclass(frozen=True, slots=True)
class Drop:
    """How much less a build scores than the float model on the same samples: the float model's figure minus the
    build's, and the ends of the paired bootstrap 95 % interval (NaN where none could be drawn)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _StoredDrop:
    value: Figure
    interval_95: tuple[Figure, Figure]

    def drop(self) -> Drop:
        return Drop(self.value, *self.interval_95)


def _ragged(rows: tuple[tuple[int, ...], ...]) -> str:
    return "expected as many columns as rows" if any(len(row) != len(rows) for row in rows) else ""


def _rising(found: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(sorted(found))


_KeyText = Annotated[Key, Via(str, Key.parse)]


@dataclass(frozen=True, slots=True)
class BuildScores:
    """One model's figures: `drops` against the float model (none for itself, and none for fidelity, which compares by
    itself); `confidences` of its answers, rising; `confusion` counts, rows the truth, where the task has classes;
    `instead` is what answered in its place ("its graph in ONNX Runtime"), "" for itself."""

    build: str
    scores: dict[_KeyText, Figure]
    drops: dict[_KeyText, Annotated[Drop, Via(_StoredDrop, _StoredDrop.drop)]]
    confidences: Annotated[tuple[float, ...], Stands("confidence_quantiles"), Via(tuple[Finite, ...], _rising)] = ()
    confusion: Annotated[tuple[tuple[Count, ...], ...], Check(_ragged)] = ()
    instead: Annotated[str, SPARE] = ""


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a picture: corners in pixels of the picture, x to the right and y down, the number of its class, and
    its score (None for a label)."""

    x0: float
    y0: float
    x1: float
    y1: float
    label: int
    score: float | None = None


def _runs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = [run.partition(":") for run in text.split()]
    try:
        return tuple((int(label), int(count)) for label, _, count in pairs)
    except ValueError:
        raise ValueError("expected `class:cells` pairs") from None


@dataclass(frozen=True, slots=True)
class ClassMap:
    """The class of each cell of a coarse grid over a picture: `runs` are (class, cells) along the rows from the top.
    Class -1 is what is outside of the model's input, or does not count."""

    height: Annotated[int, Whole(1, _CELLS)]
    width: Annotated[int, Whole(1, _CELLS)]
    runs: Annotated[tuple[tuple[int, int], ...], Via(str, _runs)]

    def problem(self) -> str:
        """What is wrong with the runs, "" for nothing."""
        cells = self.height * self.width
        odd = any(label < -1 or count < 1 for label, count in self.runs)
        return f"expected runs over {cells} cells" if odd or sum(count for _, count in self.runs) != cells else ""


def _box(found: tuple[float, float, float, float, int, float | None]) -> Box:
    return Box(*found)


_StoredBox = Annotated[Box, Via(tuple[Finite, Finite, Finite, Finite, Count, Finite | None], _box)]


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer, or the truth, shows in a picture: boxes or a map."""

    boxes: tuple[_StoredBox, ...] = ()
    cells: ClassMap | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """One picture of `height` x `width` pixels as the float model, a build and the labels see it."""

    height: Annotated[int, Whole(1)]
    width: Annotated[int, Whole(1)]
    float_answer: Annotated[Shown, Stands("float")]
    answer: Shown
    truth: Shown


@dataclass(frozen=True, slots=True)
class Odd:
    """A sample whose answers of the float model and of a build differ much: how much (task's own scale, larger is
    more), and both in words. `index` is its number in the data; `views` what can be drawn of it, None where answers
    are no places in a picture; `picture` the name of the small copy that was kept, "" for none."""

    build: str
    sample: str
    distance: Figure
    float_answer: Annotated[str, Stands("float")]
    answer: str
    truth: str
    index: Count = 0
    views: Views | None = None
    picture: Annotated[str, Match(rf"({FILE_NAME})?", "the name of a file, without a path, or none")] = ""


def _without_float(builds: tuple[BuildScores, ...]) -> str:
    return "" if builds and builds[0].build == FLOAT else "expected the float model first"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One `evaluate` statement carried out (measured, on this machine): the float model first, then every build.
    `asked` are the figures that the recipe names, or those of the whole where it names none. `condition` says how the
    pictures were changed ("noise 3"), "" for as they are. `statement` tells it from others of its task and data."""

    task: str
    data: str
    samples: Count
    classes: tuple[str, ...]
    asked: tuple[_KeyText, ...]
    builds: Annotated[tuple[BuildScores, ...], Keyed("build"), Check(_without_float)]
    odd: tuple[Odd, ...] = ()
    condition: str = ""
    statement: str = ""

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """What answered in the place of builds, where their own software did not: "tensorrt: its graph in ONNX
        Runtime, no engine"."""
        return tuple(f"{build.build}: {build.instead}" for build in self.builds if build.instead)

    def of(self, build: str) -> BuildScores:
        """The scores of one build; KeyError when it is not there."""
        return {found.build: found for found in self.builds}[build]
