"""What `allocate weights` is to keep to and to work towards, and what is told where it cannot."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from qdsl.allocate.fitting import TooSmall
from qdsl.allocate.problem import SIZE
from qdsl.cascade.carried import limit_text
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate, Limit
from qdsl.search import Grown, NoOptions, NotFinite, Refusal, Unreachable

_TIMED = frozenset({"latency", "throughput"})


@dataclass(frozen=True, slots=True)
class Goal:
    """`bound` is what the file may have in bytes, None for no bound; `smallest`: the size is minimized instead of the
    loss; `measured`: some bound is decided by building alone, `timed`: by its time."""

    bound: int | None
    smallest: bool
    measured: bool
    timed: bool


def goal_of(spec: Allocate) -> Goal:
    """What the statement asks for. Raises QdslError allocate-bound for what it cannot mean."""
    sizes = list(_sizes(spec))
    names = {limit.require.metric.name for limit in spec.limits} - {SIZE}
    if spec.minimize == SIZE and not names:
        headline = "`minimize size` does not say what the file may lose"
        cures = ("bound a metric: `minimize size under top1 drop <= 1 pp on DATA`",)
        raise QdslError([Diagnostic("allocate-bound", headline, spec.header, help=cures)])
    return Goal(min(sizes, default=None), spec.minimize == SIZE, bool(names), bool(names & _TIMED))


def _sizes(spec: Allocate) -> Iterator[int]:
    for limit in spec.limits:
        require = limit.require
        if require.metric.name != SIZE:
            continue
        if require.form != "value" or require.comparison not in ("<", "<=") or require.bound is None:
            raise _unfit(limit, spec)
        base = require.bound.base
        yield math.ceil(base) - 1 if require.comparison == "<" else math.floor(base)


def _unfit(limit: Limit, spec: Allocate) -> QdslError:
    headline = f"`allocate {spec.what}` cannot keep to `{limit_text(limit)}`"
    cures = ("bound the file: `minimize loss under size <= 1.5 MB`",)
    return QdslError([Diagnostic("allocate-bound", headline, limit.require.span, help=cures)])


def too_small(spec: Allocate, smallest: int, about: str = "") -> QdslError:
    """That no file keeps to the bound on the size; `about` stands before a number that is not of a file that was
    written."""
    limit = next(each for each in spec.limits if each.require.metric.name == SIZE)
    headline = f"no choice of types keeps to `{limit_text(limit)}`: the smallest file has {about}{smallest:,} bytes"
    cures = (f"bound it by that or more: `size <= {smallest} B`", "offer narrower types")
    return QdslError([Diagnostic("allocate-size", headline, limit.require.span, help=cures)])


def refused(answer: TooSmall | Refusal, spec: Allocate) -> QdslError:
    """Why there is no choice."""
    if isinstance(answer, TooSmall):
        return too_small(spec, answer.smallest.size)
    if isinstance(answer, NoOptions):
        return error("allocate-nothing", f"no choice suits {_names(answer.units)}, by itself or with its pins", spec)
    if isinstance(answer, NotFinite):
        return error("allocate-loss", f"{answer}", spec)
    if isinstance(answer, Grown):
        headline = f"the exact choice grows beyond what it can follow: {answer}"
        return error("allocate-grown", headline, spec)
    if isinstance(answer, Unreachable):
        return error("allocate-bound", f"{answer}", spec)
    return error("allocate-unsolved", f"the exact choice was not found: {answer}", spec)


def nothing(spec: Allocate, headline: str) -> QdslError:
    """That there is nothing to decide."""
    return error("allocate-nothing", headline, spec)


def error(code: str, headline: str, spec: Allocate) -> QdslError:
    """At the statement."""
    return QdslError([Diagnostic(code, headline, spec.header, help=(_CURES[code],))])


def _names(units: Sequence[str]) -> str:
    return ", ".join(f"`{unit[:80]}`" for unit in units[:3]) + (" and others" if len(units) > 3 else "")


_CURES = {
    "allocate-nothing": "take the `allocate` block out, or the rules",
    "allocate-loss": "look at the samples: what the float model computes of them is not finite",
    "allocate-unsolved": "bound one cost alone, which needs no solver, or let layers choose together: `group op Gemm`",
    "allocate-grown": "let layers choose together: `group op Gemm`, or offer fewer types",
}
