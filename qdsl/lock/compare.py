"""What changed between a lock and the world as it is now, in words and with the recipe line that it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from qdsl.diag import Span
from qdsl.lock.meaning import Part
from qdsl.lock.types import DataFile, Lock, LockedMeans, Named
from qdsl.spec.words import count

_CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `text` says what, `span` where in the recipe (None where nothing there speaks of it)."""

    text: str
    span: Span | None = None


def recipe_changes(lock: Lock, parts: Sequence[Part]) -> list[Change]:
    """Statements that say something else, are new, or are gone. Rules count by their order."""
    known = dict(lock.recipe)
    now = {part.key: part for part in parts}
    plain = [key for key in sorted({*known, *now}) if not key.startswith("rule ")]
    found = [change for key in plain if (change := _statement(key, known.get(key), now.get(key)))]
    return found + _rules([pair for pair in lock.recipe if pair[0].startswith("rule ")], parts)


def _statement(key: str, known: str | None, part: Part | None) -> Change | None:
    if part is None:
        return Change(f"recipe: `{key}` is gone")
    if known is None:
        return Change(f"recipe: `{key}` is new", part.span)
    return None if known == part.sha256 else Change(f"recipe: `{key}` changed", part.span)


def _rules(known: Sequence[tuple[str, str]], parts: Sequence[Part]) -> list[Change]:
    """Rules are told apart by what they say, since one more of them renumbers those after it."""
    now = [part for part in parts if part.key.startswith("rule ")]
    if [digest for _, digest in known] == [part.sha256 for part in now]:
        return []
    left = Counter(digest for _, digest in known)
    found = []
    for part in now:
        if left[part.sha256]:
            left[part.sha256] -= 1
        else:
            found.append(Change(f"recipe: this `{_word(part.key)}` rule is new or changed", part.span))
    gone = [key for key, digest in known if left[digest]]
    found += [Change(f"recipe: a `{_word(key)}` rule is gone") for key in gone[: max(0, len(known) - len(now))]]
    return found or [Change("recipe: the rules stand in another order", now[0].span if now else None)]


def _word(key: str) -> str:
    return key.rpartition(" ")[2]


def model_changes(lock: Lock, now: Named, span: Span | None) -> list[Change]:
    """The model file and its external data."""
    known, new = dict(lock.model), dict(now)
    return [
        Change(f"model: `{name}` {_verb(known.get(name), new.get(name))}", span)
        for name in sorted({*known, *new})
        if known.get(name) != new.get(name)
    ]


def cache_changes(lock: Lock, now: Named, span: Span | None) -> list[Change]:
    """The calibration caches that ranges are taken from."""
    known, new = dict(lock.caches), dict(now)
    return [
        Change(f"cache: `{name}` {_verb(known.get(name), new.get(name))}", span)
        for name in sorted({*known, *new})
        if known.get(name) != new.get(name)
    ]


def _verb(known: object, now: object) -> str:
    return "is new" if known is None else "is gone" if now is None else _CHANGED


def data_changes(
    lock: Lock, now: Iterable[DataFile], spans: Mapping[str, Span], *, partly: bool = False
) -> list[Change]:
    """Files with other content first, then those gone, new or seen another number of times. With `partly`, `now` holds
    only what is still there, and what is not counts for nothing."""
    known = {(file.data, file.name): file for file in lock.data}
    new = {(file.data, file.name): file for file in now}
    found = [(_difference(known.get(key), new.get(key)), key) for key in sorted({*known, *new})]
    told = [(verb, key) for verb, key in found if verb and (verb == _CHANGED or not partly)]
    told.sort(key=lambda pair: pair[0] != _CHANGED)
    return [Change(f"data {data}: `{name}` {verb}", spans.get(data)) for verb, (data, name) in told]


def _difference(old: DataFile | None, new: DataFile | None) -> str:
    """What happened to one file, "" for nothing."""
    if old is None or new is None:
        return _verb(old, new)
    if old.sha256 != new.sha256:
        return _CHANGED
    return "" if old.times == new.times else f"is seen {new.times} times, was {old.times}"


def range_changes(lock: Lock, needed: Iterable[tuple[str, str]]) -> list[Change]:
    """Tensors that need a range (by the method to find it) which the lock does not have, or has from another method."""
    wanted, known = sorted(set(needed)), {found.key for found in lock.ranges}
    return [
        Change(f"range: `{tensor}` {_method(_of(tensor, known), _of(tensor, wanted), method)}")
        for tensor, method in wanted
        if (tensor, method) not in known
    ]


def mean_changes(lock: Lock, needed: Iterable[tuple[str, str]], channels: Mapping[str, int]) -> list[Change]:
    """Tensors whose means are needed (by the dataset to measure them on) and that the lock does not have, or not for
    each of their `channels`."""
    known = {(found.tensor, found.data): found for found in lock.means}
    there = {tensor for tensor, _ in known}
    texts = (
        (tensor, _means(known.get((tensor, data)), data, channels.get(tensor), measured=tensor in there))
        for tensor, data in sorted(set(needed))
    )
    return [Change(f"mean: `{tensor}` {text}") for tensor, text in texts if text]


def _means(known: LockedMeans | None, data: str, channels: int | None, *, measured: bool) -> str:
    """What is amiss with the means of one tensor, which is `measured` on some data, "" for nothing."""
    if known is None:
        return f"is measured on {data}" if measured else "is needed, too"
    means = len(known.means)
    return "" if channels in (None, means) else f"has {count(channels, 'channel')}, the lock has {means}"


def _of(tensor: str, pairs: Iterable[tuple[str, str]]) -> list[str]:
    return sorted(method for name, method in pairs if name == tensor)


def _method(known: Sequence[str], wanted: Sequence[str], now: str) -> str:
    """What is said of a tensor that the lock has no range for by the method `now`: `known` are those it has."""
    if not known:
        return "is needed, too"
    if set(known) & set(wanted):
        return f"is calibrated by `{now}`, too"
    return f"is calibrated by `{now}`, was by `{'`, `'.join(known)}`"


def elsewhere(lock: Lock, capability: Named, tools: Named, cpu: Named) -> Iterator[str]:
    """Facts of the machine and the tools that differ: no reason to refuse ranges that are already known."""
    for word, known, now in (("table", lock.capability, capability), ("", lock.tools, tools), ("CPU", lock.cpu, cpu)):
        before, here = dict(known), dict(now)
        for name in sorted({*before, *here}):
            if before.get(name) == here.get(name):
                continue
            if word == "table":
                yield f"capability table {name} differs"
            else:
                label = f"{word} {name}".strip()
                yield f"{label}: {before.get(name, 'not said')} there, {here.get(name, 'not said')} here"
