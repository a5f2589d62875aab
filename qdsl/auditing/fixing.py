"""`--fix`: what can be mended in a finished file without data, carried out until no finding calls for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from qdsl.auditing.finding import Finding
from qdsl.auditing.fixes.index import FIXES, fix
from qdsl.finished.reading import read
from qdsl.graph import Model
from qdsl.rewrite import Refused, run

# Rewrites after which nobody may read what was read before, and the one that takes it out.
_LEAVE, _CLEANS = {"redundant_pairs", "float_bias", "float_scalars", "signed_integers"}, "dangling_nodes"
# What is tried for every finding of a rule, so that it is said why what cannot be mended cannot.
_TRIED = {
    "unsigned_integers": "signed_integers",
    "zero_point_not_zero": "signed_integers",
    "qoperator_form": "written_out",
}
# What the Q and DQ call for that a rewrite puts in.
_FOLLOW = {"written_out": ("stored_integers", "float_bias", "float_scalars", "written_zero_point", "signed_integers")}


@dataclass(frozen=True, slots=True)
class Mended:
    """`done` counts what each rewrite changed, in the order in which they ran; `refused` are nodes that one of them
    left alone, and why."""

    done: tuple[tuple[str, int], ...]
    refused: tuple[Refused, ...]

    @property
    def changes(self) -> int:
        return sum(count for _, count in self.done)


def mend(model: Model, findings: Iterable[Finding]) -> Mended:
    """Carry out on `model`, in place, each rewrite that a finding calls for and no waiver allows. Nodes and tensors of
    waived findings stay as they are."""
    told = tuple(findings)
    wanted = {each.fix.rewrite for each in told if each.fix is not None and not each.waived}
    wanted |= {_TRIED[each.rule] for each in told if each.rule in _TRIED and not each.waived}
    wanted |= {each for name in tuple(wanted) for each in _FOLLOW.get(name, ())}
    spared = _spared(told)
    done: Counter[str] = Counter()
    refused: list[Refused] = []
    for name in FIXES:
        if name not in wanted and not (name == _CLEANS and _LEAVE & {*done}):
            continue
        trace = run([fix(name, read(model), spared)], model)
        done.update({name: trace.edits} if trace.edits else {})
        refused += trace.refused
    return Mended(tuple((name, done[name]) for name in FIXES if done[name]), tuple(refused))


def _spared(findings: Iterable[Finding]) -> Collection[str]:
    waived = [each for each in findings if each.waived and each.fix is not None and each.fix.rewrite]
    return {place.name for each in waived for place in (each.place, *each.also) if place.name}
