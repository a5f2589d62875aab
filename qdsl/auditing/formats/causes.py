"""Where the error comes from, in words and as data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from qdsl.causes.records import Cause, Causes, Cure
from qdsl.spec.words import count, plain, shortened

_SHOWN = 10
_WIDTH = 48  # of a tensor's name
_TITLES = ("share", "gain", "alone", "own", "inherited")


def told(causes: Causes) -> Iterator[str]:
    """The table that `qdsl audit --causes` prints: what would help most comes first."""
    where = f"{count(causes.samples, 'sample')} of {plain(causes.source)}"
    if causes.source == "drawn inputs":
        where = f"{count(causes.samples, 'drawn input')}: values from 0 to 1, no real data"
    if causes.causes:
        yield f"causes     outputs {_decibels(causes.outputs_db)} from the float values, measured on {where}"
    else:
        yield "causes     none"
    for note in causes.notes:
        yield f"           {plain(note)}"
    measured = [each for each in causes.causes if each.measured]
    if measured:
        yield f"           {'':<{_WIDTH}} " + " ".join(f"{title:>9}" for title in _TITLES)
    for each in measured[:_SHOWN]:
        yield f"           {_name(each):<{_WIDTH}} " + " ".join(f"{cell:>9}" for cell in _cells(each))
        if each.cure is not None:
            yield f"             cure: {plain(' and '.join(each.cure.lines))}   {_gained(each.cure)}"
    yield from _rest(causes, len(measured))


def _name(cause: Cause) -> str:
    """`/x/Conv weights`, or the tensor of an activation."""
    more = f" and {len(cause.also)} more" if cause.also else ""
    name = cause.tensor if cause.role == "activation" or not cause.node else f"{cause.node}, {cause.role}"
    return shortened(plain(name), _WIDTH - len(more)) + more


def _cells(cause: Cause) -> tuple[str, ...]:
    share = "" if cause.share is None or not math.isfinite(cause.share) else f"{100 * cause.share:.0f} %"
    gain = "" if cause.gain_db is None else f"{cause.gain_db:+.1f} dB"
    inherited = "" if cause.role != "activation" else _decibels(cause.inherited_db)
    return share, gain, _decibels(cause.alone_db), _decibels(cause.own_db), inherited


def _gained(cure: Cure) -> str:
    return f"tried {cure.tried}: {cure.gain_db:+.1f} dB, to {_decibels(cure.after_db)}"


def _decibels(value: float | None) -> str:
    if value is None:
        return "no figure"
    return "equal" if value == math.inf else f"{value:.1f} dB"


def _rest(causes: Causes, measured: int) -> Iterator[str]:
    if measured > _SHOWN:
        yield f"           and {measured - _SHOWN} more that were tried at the outputs (--json has all)"
    if len(causes.causes) > measured:
        left = len(causes.causes) - measured
        yield f"           {left} others lose less: measured inside the graph alone ({causes.runs:,} runs in all)"
    reasons: dict[str, int] = {}
    for _, why in causes.left_out:
        reasons[why] = reasons.get(why, 0) + 1
    for why, number in reasons.items():
        yield f"           {count(number, 'tensor')} left out: {plain(why)}"


def to_data(causes: Causes) -> dict[str, Any]:
    """The same as what JSON knows; infinities are the texts "inf" and "-inf"."""
    return {
        "source": causes.source,
        "samples": causes.samples,
        "outputs": list(causes.outputs),
        "outputs_db": _number(causes.outputs_db),
        "tried": causes.tried,
        "runs": causes.runs,
        "causes": [_cause(each) for each in causes.causes],
        "left_out": [{"tensor": tensor, "because": why} for tensor, why in causes.left_out],
        "notes": list(causes.notes),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    cure = cause.cure
    figures = ("own_db", "inherited_db", "alone_db", "without_db", "gain_db", "share")
    return {
        "tensor": cause.tensor,
        "role": cause.role,
        "node": cause.node or None,
        "also": list(cause.also),
        "measured": cause.measured,
        **{name: _number(getattr(cause, name)) for name in figures},
        "cure": None
        if cure is None
        else {
            "lines": list(cure.lines),
            "tried": cure.tried,
            "after_db": _number(cure.after_db),
            "gain_db": _number(cure.gain_db),
        },
    }


def _number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else "inf" if value > 0 else "-inf" if value < 0 else None
