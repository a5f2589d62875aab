"""ST's plan of memory, held against itself: no two buffers may lie over each other while both are in use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qdsl.spec.bounds import UnfitError
from qdsl.spec.words import plain

_MOST_TOLD, _MOST_BUFFERS = 20, 4096


@dataclass(frozen=True, slots=True)
class Lying:
    """A buffer in a pool: from `start` for `size` bytes, in use from epoch `first` to `last`."""

    id: int
    name: str
    pool: int
    start: int
    size: int
    first: int
    last: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Checked:
    """`overlaps` in words, `in_place` how many pairs a node writes over what it reads: its kernel reads ahead."""

    overlaps: tuple[str, ...]
    in_place: int


def check(buffers: Sequence[Lying], meant: Collection[tuple[int, int]], sizes: Mapping[int, int]) -> Checked:
    """Every pair that lies at one place at one time, the first of them in words; `meant` are (input, output) of nodes,
    by id; `sizes` how many bytes of each pool are used. A buffer in use until an epoch and one from it on do not meet.
    Raises UnfitError for more buffers than a network has."""
    if len(buffers) > _MOST_BUFFERS:
        raise UnfitError(f"expected at most {_MOST_BUFFERS} buffers that are written, found {len(buffers)}", "buffers")
    told, in_place = list(_beyond(buffers, sizes)), 0
    for one, other in _meeting(buffers):
        if (one.id, other.id) in meant or (other.id, one.id) in meant:
            in_place += 1
            continue
        both = min(one.end, other.end) - max(one.start, other.start)
        names = f"`{plain(one.name)[:80]}` and `{plain(other.name)[:80]}`"
        when = f"in epochs {max(one.first, other.first)} to {min(one.last, other.last)}"
        told.append(f"{names} share {both:,} bytes {when}")
        if len(told) > _MOST_TOLD:
            return Checked((*told[:_MOST_TOLD], "and more"), in_place)
    return Checked(tuple(told), in_place)


def _beyond(buffers: Sequence[Lying], sizes: Mapping[int, int]) -> Iterator[str]:
    for each in buffers:
        if each.end > sizes.get(each.pool, each.end):
            name, used = plain(each.name)[:80], sizes[each.pool]
            yield f"`{name}` ends at {each.end:,}, beyond the {used:,} bytes that its pool uses"


def _meeting(buffers: Sequence[Lying]) -> Iterator[tuple[Lying, Lying]]:
    """Pairs at one place at one time, by sweeping over the epochs."""
    living: list[Lying] = []
    for buffer in sorted((each for each in buffers if each.size > 0), key=lambda each: (each.first, each.id)):
        living = [each for each in living if each.last > buffer.first]
        for each in living:
            together = each.pool == buffer.pool and each.first < buffer.last
            if together and each.start < buffer.end and buffer.start < each.end:
                yield each, buffer
        living.append(buffer)
