"""`oversample`, `ratio` and `balance classes`: how often each sample is seen, by the classes it shows.

A picture without labels is `background`, a name that `oversample` and `ratio` may use; `balance` leaves it out. Under
`ratio` and `balance` a picture belongs to one class: of those asked for, the one that the fewest pictures show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from qdsl.data.files import MAX_FILES, chosen, item_names, rank
from qdsl.data.folders import unknown_class
from qdsl.data.types import Item, Listing, failure
from qdsl.diag import Diagnostics
from qdsl.lang.recipe import DataSpec

BACKGROUND = "background"
_DRAWS = ("oversample", "ratio", "balance")


@dataclass(frozen=True, slots=True)
class Sampled:
    """Items in path order, repeats side by side; how many there are without `take`; what was left out and why."""

    items: tuple[Item, ...]
    available: int
    skipped: tuple[str, ...]


def wanted(spec: DataSpec) -> bool:
    return bool(spec.oversample or spec.ratio or spec.balance)


def sampled(spec: DataSpec, listing: Listing, diags: Diagnostics) -> Sampled:
    """The samples that `spec` draws from `listing`; the same on every machine, whatever the order of the listing.

    With `take N seed S` those whose names rank lowest by SHA-256 are drawn, without a seed the first in path order.
    QdslError: data-class, data-size, sampling-value, sampling-empty.
    """
    _check_names(spec, listing)
    shown = [frozenset(label.index for label in item.labels()) for item in listing.items]
    drawn = _oversampled(spec, listing, shown) if spec.oversample else _shared(spec, listing, shown, diags)
    _report_no_effect(spec, listing, shown, drawn, diags)
    return drawn


def _report_no_effect(
    spec: DataSpec, listing: Listing, shown: Sequence[frozenset[int]], drawn: Sampled, diags: Diagnostics
) -> None:
    """Warn of what changes nothing: a class that no picture shows, and a draw that is the same without the setting."""
    showing = Counter(number for indices in shown for number in _shows(indices))
    factors = {_number(name, listing.classes): int(factor) for name, factor in spec.oversample}
    absent = [name for name, _ in spec.oversample if not showing[_number(name, listing.classes)]]
    if absent:
        headline = f"`oversample` finds no picture of class `{absent[0]}` in dataset {spec.name}"
        diags.warning(
            "sampling-no-effect", headline, spec.at("oversample"), help=["leave the class out, or add pictures of it"]
        )
        return
    plain = chosen(listing.items, item_names(listing.items), spec.take)
    alike = len({max((factors.get(i, 1) for i in _shows(indices)), default=1) for indices in shown}) == 1
    same = Counter(item.id for item in drawn.items) == Counter(item.id for item in plain)
    if not same and not (factors and alike):
        return
    word = "oversample" if spec.oversample else "ratio" if spec.ratio else "balance classes"
    why = "every picture gets the same factor" if factors else "the classes have these shares already"
    headline = f"`{word}` changes nothing in dataset {spec.name}"
    diags.warning("sampling-no-effect", headline, spec.at(*_DRAWS), label=why, help=["leave it out"])


def quotas(count: int, shares: Sequence[Fraction]) -> tuple[int, ...]:
    """`count` split by `shares` (summing to 1): rounded down, the rest to the largest remainders, the first of equals.
    Each part is less than 1 away from its exact value."""
    exact = [count * share for share in shares]
    parts = [int(value) for value in exact]
    order = sorted(range(len(shares)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: count - sum(parts)]:
        parts[i] += 1
    return tuple(parts)


def _check_names(spec: DataSpec, listing: Listing) -> None:
    named = [name for name, _ in spec.oversample or spec.ratio]
    known = (*listing.classes, BACKGROUND)
    for at, name in enumerate(named):
        if name not in known:
            raise unknown_class(name, known, spec)
        if name in named[:at]:
            raise _bad(spec, f"class `{name}` is named twice", "name each class once")
    for name, factor in spec.oversample:
        if not 1 <= factor <= MAX_FILES or factor != int(factor):
            headline = f"`oversample` draws class `{name}` {factor:g} times"
            raise _bad(spec, headline, "a factor is a whole number from 1 on; `ratio` sets shares")
    total = sum(share for _, share in spec.ratio)
    if spec.ratio and (abs(total - 1) > 1e-6 or min(share for _, share in spec.ratio) < 0):
        raise _bad(spec, f"the shares of `ratio` sum to {100 * total:g} %", "change them so that they sum to 100 %")


def _bad(spec: DataSpec, headline: str, cure: str) -> Exception:
    return failure("sampling-value", f"dataset {spec.name}: {headline}", spec.at(*_DRAWS), help=(cure,))


def _number(name: str, classes: tuple[str, ...]) -> int:
    """A class by its place in `classes`, -1 for the background."""
    return classes.index(name) if name in classes else -1


def _shows(indices: frozenset[int]) -> frozenset[int]:
    return indices or frozenset((-1,))


def _rank(spec: DataSpec, name: str, turn: int) -> bytes:
    """Where one turn of a sample stands in the draw; the first turn ranks as it does without repeats."""
    if spec.take is None or spec.take[1] is None:
        return b""
    return rank(spec.take[1], name, turn)


def _oversampled(spec: DataSpec, listing: Listing, shown: Sequence[frozenset[int]]) -> Sampled:
    factors = {_number(name, listing.classes): int(factor) for name, factor in spec.oversample}
    times = [max((factors.get(i, 1) for i in _shows(indices)), default=1) for indices in shown]
    total = sum(times)
    if total > MAX_FILES:
        raise failure("data-size", f"dataset {spec.name} would have {total} samples", spec.at("oversample"))
    turns = [(place, turn) for place, count in enumerate(times) for turn in range(count)]
    if spec.take is not None and spec.take[0] < total:
        ranked = sorted(turns, key=lambda t: (_rank(spec, listing.items[t[0]].id, t[1]), t))
        turns = sorted(ranked[: spec.take[0]])
    return Sampled(tuple(listing.items[place] for place, _ in turns), total, listing.skipped)


def _shared(spec: DataSpec, listing: Listing, shown: Sequence[frozenset[int]], diags: Diagnostics) -> Sampled:
    names = [name for name, share in spec.ratio if share > 0] or list(spec.classes or listing.classes)
    numbers = [_number(name, listing.classes) for name in names]
    groups = _groups(numbers, shown)
    empty = [name for name, number in zip(names, numbers, strict=True) if not groups[number]]
    _report_empty(spec, empty, len(names), diags)
    filled = [number for number in numbers if groups[number]]
    shares = [Fraction(share).limit_denominator(10**9) for _, share in spec.ratio if share > 0]
    shares = [share / sum(shares) for share in shares] or [Fraction(1, len(filled))] * len(filled)
    available = sum(len(group) for group in groups.values())
    count = min(spec.take[0], available) if spec.take is not None else available
    places: list[int] = []
    for number, quota in zip(filled, quotas(count, shares), strict=True):
        ranked = sorted(groups[number], key=lambda place: (_rank(spec, listing.items[place].id, 0), place))
        places += ranked * (quota // len(ranked)) + ranked[: quota % len(ranked)]
    belong = {place for group in groups.values() for place in group}
    left_out = tuple(f"{item.id}: {_why(shown[i])}" for i, item in enumerate(listing.items) if i not in belong)
    return Sampled(tuple(listing.items[place] for place in sorted(places)), available, listing.skipped + left_out)


def _groups(numbers: Sequence[int], shown: Sequence[frozenset[int]]) -> dict[int, list[int]]:
    """Places in the listing by class number: each picture once, in the rarest of the classes asked for."""
    seen = Counter(number for indices in shown for number in _shows(indices))
    groups: dict[int, list[int]] = {number: [] for number in numbers}
    for place, indices in enumerate(shown):
        candidates = [number for number in _shows(indices) if number in groups]
        if candidates:
            groups[min(candidates, key=lambda number: (seen[number], number))].append(place)
    return groups


def _why(indices: frozenset[int]) -> str:
    return "none of the classes" if indices else "no labels"


def _report_empty(spec: DataSpec, empty: Sequence[str], asked: int, diags: Diagnostics) -> None:
    """A share of a class without samples cannot be drawn; `balance` goes on with the classes that have some."""
    if not empty and asked:
        return
    word = "`balance classes`" if spec.balance else "`ratio`"
    which = f"class `{empty[0]}`" if empty else "any class"
    more = f" and {len(empty) - 1} more" if len(empty) > 1 else ""
    headline = f"dataset {spec.name} has no sample for {which}{more}, which {word} asks for"
    help = ("a picture counts for the rarest class it shows only",)
    if spec.ratio or spec.classes or len(empty) == asked:
        raise failure("sampling-empty", headline, spec.at(*_DRAWS), help=help)
    diags.warning("sampling-empty", headline, spec.at(*_DRAWS), help=["the other classes share equally"])
