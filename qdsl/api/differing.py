"""`diff`: what differs between two recipes, plans, locks or models; `git_setup`: the same in `git diff`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.diag import Diagnostic, QdslError
from qdsl.differences.comparing import LEAST_MOVE, Difference, compare
from qdsl.differences.git_setup import set_up
from qdsl.differences.opening import Ask, sides
from qdsl.differences.side import Side
from qdsl.graph.collector import collector_paused

_PLANS = {"recipe", "plan"}


@dataclass(frozen=True, slots=True)
class DiffResult:
    """`differences` are by target, in the order of the first side."""

    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        return all(found.equal for found in self.differences)


@dataclass(frozen=True, slots=True)
class GitSetup:
    """`root` is the top of the working tree, `added` the lines that were put into its `.gitattributes` (none where they
    stood there), `command` what git runs on a file to get its lines."""

    root: Path
    added: tuple[str, ...]
    command: str


@collector_paused()
def diff(
    before: str | Path,
    after: str | Path,
    *,
    target: str | None = None,
    sets: Mapping[str, str] | None = None,
    scales: float = LEAST_MOVE,
) -> DiffResult:
    """What `after` says otherwise than `before`: two recipes or plans (of a recipe its plan, where its model is there;
    a `plan.json`, or the folder of a build), two locks, or two models of anybody's. Each is a path, or `REV:path` as
    git writes it. Nothing is run.

    `target` leaves the others out; `sets` are parameters of recipes; scales that move by less than the share `scales`
    of what they were are counted, not told. Raises QdslError diff-input, diff-revision, diff-kinds, and what is wrong
    with either side.
    """
    ask = Ask(target, sets or {})
    old, new = (sides(str(each), ask) for each in (before, after))
    _require_comparable(old, new)
    if old[0].kind != new[0].kind:  # the plan of a build has what its lock chose
        old, new = (sides(str(each), replace(ask, chosen=True)) for each in (before, after))
    pairs = _pairs(old, new)
    return DiffResult(tuple(compare(one, other, scales) for one, other in pairs))


def git_setup(folder: str | Path = ".") -> GitSetup:
    """Let `git diff` show recipes, locks and models by what they mean, in the repository around `folder`: three lines
    in its `.gitattributes`, and a driver in its own configuration. Raises QdslError diff-git."""
    return GitSetup(*set_up(Path(folder)))


def _pairs(old: tuple[Side, ...], new: tuple[Side, ...]) -> list[tuple[Side, Side]]:
    """Sides of one target. Where only one side names targets, or each has a single one, all meet."""
    if len(old) == 1 and len(new) == 1:
        return [(old[0], new[0])]
    known = {side.target: side for side in new}
    found = [(side, known[side.target]) for side in old if side.target in known]
    return found or [(old[0], new[0])]


def _require_comparable(old: tuple[Side, ...], new: tuple[Side, ...]) -> None:
    for name, found in (("the first", old), ("the second", new)):
        if not found:
            raise QdslError([Diagnostic("diff-input", f"{name} has no such target", help=("name another `--target`",))])
    kinds = old[0].kind, new[0].kind
    if kinds[0] == kinds[1]:
        return
    if set(kinds) == _PLANS:
        for side in (*old, *new):
            if side.why:  # nothing is left that a recipe and a plan both say
                raise QdslError([Diagnostic("diff-input", f"`{side.name[:200]}` is {side.why}")])
        return
    headline = f"a {kinds[0]} and a {kinds[1]} say different things, and cannot be compared line by line"
    if "model" in kinds:
        help = "whether a model is what its recipe asks: `qdsl audit MODEL --recipe RECIPE`"
    else:
        help = "compare two recipes (or plans), two locks, or two models"
    raise QdslError([Diagnostic("diff-kinds", headline, help=(help,))])
