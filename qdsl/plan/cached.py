"""Ranges from calibration caches: what a recipe names, what a tensor takes from them, and what they do not have.

A cache stands beside the recipe, so its ranges are known before anything runs: the plan has them, the lock its hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from qdsl.calibrate.cache_file import CalibrationCache, is_unnamed, read_cache
from qdsl.cascade.cascade import Cascade
from qdsl.cascade.rule_words import Origins
from qdsl.diag import Diagnostics, QdslError, nearest
from qdsl.lang.recipe import Calibrate, LayersRule
from qdsl.plan.context import Context
from qdsl.spec import Scheme
from qdsl.spec.plan import CACHED, CacheUse, Calibration, Origin, TensorPlan
from qdsl.spec.words import count, plain

_SHOWN = 5  # tensors that no entry names


def read_caches(cascade: Cascade, origins: Origins, diags: Diagnostics) -> dict[str, CalibrationCache]:
    """Every cache that the mode or a rule names, by its path. What is wrong with one goes to `diags`, with the line of
    the recipe that names it; it is left out then."""
    found: dict[str, CalibrationCache] = {}
    for said in _named(cascade):
        assert said.cache_path is not None
        if said.cache_path in found:
            continue
        try:
            found[said.cache_path] = read_cache(Path(said.cache_path), said.cache_path, said.span)
        except QdslError as error:
            for one in error.diagnostics:
                inside = one.span is not None and one.span.file == said.cache_path
                note = f"the recipe names it at {origins.place(said.span)}"
                diags.add(replace(one, notes=(*one.notes, note)) if inside else one)
    return found


def _named(cascade: Cascade) -> Iterator[Calibrate]:
    rules = [one.rule.settings for one in cascade.spoken if isinstance(one.rule, LayersRule)]
    for settings in (cascade.mode.settings, *rules):
        said = settings.calibrate
        if said is not None and said.cache_path is not None:
            yield said


def from_cache(context: Context, said: Calibrate, tensor: str, scheme: Scheme, origin: Origin) -> Calibration:
    """The range of `tensor`, without ends where no entry names it, or one whose scale is 0. Around 0 as TensorRT has
    it, so that a symmetric scheme gets the scale of the cache to the bit; an affine one leaves out what the graph
    cannot reach (a Relu writes nothing below 0)."""
    assert said.cache_path is not None
    cache, name = context.caches.get(said.cache_path), context.origins.relative(said.cache_path)
    if cache is None or not cache.scales.get(tensor):
        return Calibration(CACHED, cache=name, origin=origin)
    low, high = -cache.amax(tensor), cache.amax(tensor)
    if not scheme.symmetric:
        floor, ceiling = context.bounds[tensor]
        low, high = max(low, min(floor, 0.0)), min(high, max(ceiling, 0.0))
    return Calibration(CACHED, low=low, high=high, cache=name, origin=origin)


def missing_in_caches(context: Context, plans: Mapping[str, TensorPlan]) -> None:
    """Report tensors that are to take their range from a cache which has no entry of that name."""
    lost = [plan for plan in plans.values() if plan.observe and plan.calibration.cache and plan.calibration.low is None]
    for plan in lost[:_SHOWN]:
        said = context.asked("calibrate", plan.tensor, context.speakers(plan.tensor, plans)).value
        assert isinstance(said, Calibrate) and said.cache_path is not None
        cache = context.caches.get(said.cache_path)
        if cache is None:
            continue  # that it cannot be read was told
        more = f"; nor of {len(lost) - _SHOWN} more" if len(lost) > _SHOWN and plan is lost[_SHOWN - 1] else ""
        context.diags.error(
            "cache-lacks",
            f"`{plain(plan.calibration.cache or '')}` has no range of tensor `{plain(plan.tensor)}`",
            said.span,
            label=f"{_lack(cache, plan.tensor)}{more}",
            help=_cures(cache, plan.tensor, lost),
        )


def _lack(cache: CalibrationCache, tensor: str) -> str:
    if tensor in cache.scales:
        return "its scale is 0 there: it held nothing but 0 while that was measured"
    return f"it has {_entries(cache)}, none of that name"


def _entries(cache: CalibrationCache) -> str:
    """`73 entries, 12 under names that TensorRT made up`."""
    unnamed = sum(map(is_unnamed, cache.scales))
    told = f", {unnamed} under names that TensorRT made up (`(Unnamed Layer* ..`)" if unnamed else ""
    return f"{count(len(cache.scales), 'entry', 'entries')}{told}"


def _cures(cache: CalibrationCache, tensor: str, lost: Sequence[TensorPlan]) -> Iterator[str]:
    near = nearest(tensor, (name for name in cache.scales if not is_unnamed(name)))
    if near and tensor not in cache.scales:
        yield f"the nearest there: {', '.join(f'`{plain(name)}`' for name in near)}"
    quoted = plain(tensor).replace('"', "?")
    yield f'give it a range otherwise: `layers tensor "{quoted}" {{ calibrate minmax on DATA }}`, or `range [lo, hi]`'
    if len(lost) > 1:
        yield "or calibrate on data, and take from the cache what it has: `layers X { calibrate from cache .. }`"


def uses(context: Context, plans: Iterable[TensorPlan]) -> tuple[CacheUse, ...]:
    """What is taken from each cache, by its name."""
    taken: dict[str, set[str]] = {}
    for plan in plans:
        if plan.calibration.cache is not None:
            taken.setdefault(plan.calibration.cache, set()).add(plan.tensor)
    found = ((context.origins.relative(path), cache) for path, cache in context.caches.items())
    return tuple(sorted((_use(name, cache, taken.get(name, set())) for name, cache in found), key=lambda use: use.file))


def _use(name: str, cache: CalibrationCache, taken: set[str]) -> CacheUse:
    left = [entry for entry in cache.scales if entry not in taken]
    unnamed = sum(map(is_unnamed, left))
    used = len(cache.scales) - len(left)
    return CacheUse(name, cache.sha256, cache.release, cache.algorithm, used, len(left), unnamed)


def shown(use: CacheUse) -> str:
    """`from cache calib.cache: 61 ranges (TensorRT 8.6.0, MinMaxCalibration); 2 entries name no planned tensor`."""
    left = ""
    if use.unused:
        which = f", {use.unnamed} of them under names that TensorRT made up" if use.unnamed else ""
        left = f"; {count(use.unused, 'entry names', 'entries name')} no planned tensor{which}"
    wrote = f"TensorRT {use.release}, {use.algorithm}"
    return f"from cache {plain(use.file)}: {count(use.used, 'range')} ({wrote}){left}"
