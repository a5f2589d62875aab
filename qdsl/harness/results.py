"""What evaluating returns. Plain data, loaded without numpy or a runtime."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = "float"  # the name of the float model among the builds


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """A figure by name: a metric, of a class or an output where `of` names one."""

    metric: str
    of: str = ""

    def __str__(self) -> str:
        return f'{self.metric} "{self.of}"' if self.of else self.metric


@dataclass(frozen=True, slots=True)
class Drop:
    """How much less a build scores than the float model on the same samples: the float model's figure minus the
    build's, and the ends of the paired bootstrap 95 % interval (NaN where none could be drawn)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BuildScores:
    """One model's figures: `drops` against the float model (none for itself, and none for fidelity, which compares by
    itself); `confidences` of its answers, rising; `confusion` counts, rows the truth, where the task has classes."""

    build: str
    scores: dict[Key, float]
    drops: dict[Key, Drop]
    confidences: tuple[float, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()


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


@dataclass(frozen=True, slots=True)
class ClassMap:
    """The class of each cell of a coarse grid over a picture: `runs` are (class, cells) along the rows from the top.
    Class -1 is what is outside of the model's input, or does not count."""

    height: int
    width: int
    runs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer, or the truth, shows in a picture: boxes or a map."""

    boxes: tuple[Box, ...] = ()
    cells: ClassMap | None = None


@dataclass(frozen=True, slots=True)
class Views:
    """One picture of `height` x `width` pixels as the float model, a build and the labels see it."""

    height: int
    width: int
    float_answer: Shown
    answer: Shown
    truth: Shown


@dataclass(frozen=True, slots=True)
class Odd:
    """A sample whose answers of the float model and of a build differ much: how much (task's own scale, larger is
    more), and both in words. `index` is its number in the data; `views` what can be drawn of it, None where answers
    are no places in a picture; `picture` the name of the small copy that was kept, "" for none."""

    build: str
    sample: str
    distance: float
    float_answer: str
    answer: str
    truth: str
    index: int = 0
    views: Views | None = None
    picture: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One `evaluate` statement carried out (measured, on this machine): the float model first, then every build.
    `asked` are the figures that the recipe names, or those of the whole where it names none. `condition` says how the
    pictures were changed ("noise 3"), "" for as they are. `statement` tells it from others of its task and data."""

    task: str
    data: str
    samples: int
    classes: tuple[str, ...]
    asked: tuple[Key, ...]
    builds: tuple[BuildScores, ...]
    odd: tuple[Odd, ...] = ()
    condition: str = ""
    statement: str = ""

    def of(self, build: str) -> BuildScores:
        """The scores of one build; KeyError when it is not there."""
        return {found.build: found for found in self.builds}[build]
