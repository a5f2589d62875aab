"""What a lock holds: the facts a compilation depended on, and what its data decided."""

from __future__ import annotations

from dataclasses import dataclass

LOCK_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class DataFile:
    """One file that calibration read: `name` as the dataset calls it, seen `times` times (an npz once per row)."""

    data: str
    name: str
    times: int
    sha256: str


@dataclass(frozen=True, slots=True, order=True)
class LockedRange:
    """The range of one tensor in its real values, and the method that found it ("minmax on calib"). A tensor that the
    targets of a recipe want by several methods has one for each. `chosen` is what `auto` took ("mse"), else empty."""

    tensor: str
    low: float
    high: float
    method: str
    chosen: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What no two ranges of a lock have in common, and what they are sorted by."""
        return self.tensor, self.method


@dataclass(frozen=True, slots=True, order=True)
class LockedMeans:
    """The mean of each channel of one tensor, over the first samples of a dataset."""

    tensor: str
    data: str
    means: tuple[float, ...]


@dataclass(frozen=True, slots=True, order=True)
class LockedChoice:
    """What a measurement said of an alternative at one node of one target: taken or left, and what showed it."""

    target: str
    alternative: str
    node: str
    taken: bool
    evidence: str


@dataclass(frozen=True, slots=True, order=True)
class LockedAssignment:
    """What `allocate` gave a node for one target: a type in the words of a recipe."""

    target: str
    node: str
    choice: str


@dataclass(frozen=True, slots=True, order=True)
class LockedOutcome:
    """That `allocate` was carried out for one target, and what showed that its result is good."""

    target: str
    evidence: str


@dataclass(frozen=True, slots=True, order=True)
class LockedWeight:
    """The integers that `round` chose for one weight of one target: the weight and its scheme in words, the SHA-256 of
    the integers, which stand in the file beside the lock, and how far what the layer writes lies above what rounding
    adds, in dB, before and after."""

    target: str
    tensor: str
    scheme: str
    sha256: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What measurements of one compilation chose, over all targets."""

    tuned: tuple[LockedChoice, ...] = ()
    assigned: tuple[LockedAssignment, ...] = ()
    allocated: tuple[LockedOutcome, ...] = ()
    rounded: tuple[LockedWeight, ...] = ()


Named = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Lock:
    """Every sequence is sorted. `recipe`, `model` and `capability` pair a name with a SHA-256, `tools` with a version,
    `cpu` with a word or two. `samples` and `settled` are those of the calibration, `caches` the calibration caches that
    ranges are taken from, each with a SHA-256."""

    recipe: Named
    model: Named
    capability: Named
    tools: Named
    cpu: Named
    data: tuple[DataFile, ...] = ()
    samples: int = 0
    settled: int = 0
    ranges: tuple[LockedRange, ...] = ()
    tuned: tuple[LockedChoice, ...] = ()
    means: tuple[LockedMeans, ...] = ()
    caches: Named = ()
    assigned: tuple[LockedAssignment, ...] = ()
    allocated: tuple[LockedOutcome, ...] = ()
    rounded: tuple[LockedWeight, ...] = ()


def chosen(lock: Lock) -> Chosen:
    """What a lock says of choices by measurement."""
    return Chosen(lock.tuned, lock.assigned, lock.allocated, lock.rounded)
