"""Where the error of a quantized file comes from, measured: inside the graph for every quantized tensor, at the outputs
for those that lose most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from qdsl.causes.curing import cure, worth_curing
from qdsl.causes.effects import Bench
from qdsl.causes.floats import float_weights
from qdsl.causes.local import Local, locals_of
from qdsl.causes.outputs import parts_of
from qdsl.causes.records import Cause, Causes, Heard, gain, share, silent
from qdsl.causes.running import Arrays
from qdsl.causes.switching import NO_FLOATS, Switch, Switched, switched
from qdsl.causes.written_out import written_out
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, Role
from qdsl.graph import Model
from qdsl.passes.constant_nodes import ConstantNodes

LOCAL_SAMPLES = 2  # of them inside the graph
SCREENED = 96  # tensors that are tried alone at the outputs, on one sample: those that lose most inside
SHORTLIST = 24  # of them that are tried on all samples, alone and left out: those that lose most there


@dataclass(frozen=True, slots=True)
class _Effect:
    """At the outputs: with one tensor alone quantized, and with all but this one."""

    alone_db: float | None
    without_db: float | None


def find_causes(
    finished: Finished,
    samples: Sequence[Arrays],
    *,
    source: str,
    floats: Model | None = None,
    most: int = SHORTLIST,
    heard: Heard = silent,
) -> Causes:
    """Where the error of a finished file comes from, on `samples` (inputs by name) of `source`. `floats` is the float
    model that it was made from: without one, what weights lost by being rounded is not known.

    Deterministic. Takes two runs for each of two samples and 128 MiB of inner tensors, one for each of SCREENED
    tensors; for each sample two, two more for each of the `most` tensors that are tried on all of them, and up to three
    for each of five cures. Each is on one thread, several side by side. Raises QdslError artifact-refused where ONNX
    Runtime does not run the file.
    """
    finished, operators = _told_apart(finished)
    graph = switched(finished, {} if floats is None else float_weights(finished, floats))
    parts, notes = parts_of(finished.view), _notes(graph, floats, operators)
    if not (graph.switches and samples and parts):
        why = "there is nothing to compare" if graph.switches else "nothing is quantized that can be left out"
        return Causes(source, len(samples), (), None, (), 0, 0, graph.left_out, (*notes, why))
    seen, runs = locals_of(graph, samples[:LOCAL_SAMPLES], partial(heard, "inside the graph"))
    ranked = sorted(graph.switches, key=lambda each: -max(one.rank for one in seen[each.flag]))
    bench = Bench.of(graph, parts, samples)
    chosen = _shortlist(bench, ranked, most, heard)
    base, without = bench.without(chosen, partial(heard, "all but one quantized"))
    alone = bench.alone(chosen, partial(heard, "one alone quantized"))
    effects = {one.flag: _Effect(*both) for one, *both in zip(chosen, alone, without, strict=True)}
    told = [(_cause(finished, each, seen[each.flag], effects.get(each.flag), base), each) for each in ranked]
    told.sort(key=lambda pair: _order(pair[0]))
    causes, tries = _cured(bench, told, base, heard)
    return Causes(
        source=source,
        samples=len(samples),
        outputs=tuple(dict.fromkeys(part.output for part in parts)),
        outputs_db=base,
        causes=causes,
        tried=len(chosen),
        runs=runs + min(SCREENED, len(ranked)) + len(samples) * (2 + 2 * len(chosen) + tries),
        left_out=graph.left_out,
        notes=notes,
    )


def _shortlist(bench: Bench, ranked: Sequence[Switch], most: int, heard: Heard) -> list[Switch]:
    """The tensors whose rounding alone costs the outputs most on the first sample, in the order of the graph."""
    few = replace(bench, samples=bench.samples[:1], expected=bench.expected[:1])
    screened = ranked[: max(SCREENED, most)]
    errors = few.alone(screened, partial(heard, "one alone quantized, first sample"))
    order = sorted(range(len(screened)), key=lambda place: _loud(errors[place]))[:most]
    return [screened[place] for place in sorted(order)]


def _cured(
    bench: Bench, told: Sequence[tuple[Cause, Switch]], base: float | None, heard: Heard
) -> tuple[tuple[Cause, ...], int]:
    """The causes, the first with their cures, and how many runs per sample that took."""
    switches = {cause.tensor: switch for cause, switch in told}
    causes = [cause for cause, _ in told]
    asked = worth_curing(causes)
    tries = 0
    for done, cause in enumerate(asked, 1):
        found, runs = cure(bench, cause, switches[cause.tensor], base)
        causes[causes.index(cause)] = replace(cause, cure=found)
        tries += runs
        heard("cures", done, len(asked))
    return tuple(causes), tries


def _loud(error: float | None) -> float:
    return -math.inf if error is None else error


def _cause(
    finished: Finished, switch: Switch, seen: Sequence[Local], effect: _Effect | None, base: float | None
) -> Cause:
    """What is known of a switch, told of the member that loses most inside."""
    place = max(range(len(seen)), key=lambda each: seen[each].rank)
    member, weight = switch.members[place], switch.role is not Role.ACTIVATION
    producer = finished.view.producer(member.record.tensor)
    reader = next((name for name, _ in member.readers), "")
    return Cause(
        tensor=member.record.tensor,
        role=switch.role.value,
        node=reader if weight else producer.name if producer is not None else "",
        own_db=seen[place].own.sqnr_db,
        inherited_db=None if weight else seen[place].inherited.sqnr_db,
        also=tuple(each.record.tensor for each in switch.members if each is not member),
        alone_db=None if effect is None else effect.alone_db,
        without_db=None if effect is None else effect.without_db,
        gain_db=None if effect is None else gain(base, effect.without_db),
        share=None if effect is None else share(base, effect.alone_db, effect.without_db),
        measured=effect is not None,
    )


def _order(cause: Cause) -> tuple[bool, float, float]:
    """What would help most comes first; those not measured at the outputs stay as they are ranked."""
    if cause.share is None:
        return True, 0.0, 0.0
    return False, -cause.share, _loud(cause.alone_db)


def _told_apart(finished: Finished) -> tuple[Finished, int]:
    """The file with operators that compute on integers written out, and how many these are."""
    if all(each.form is not Form.OPERATOR for each in finished.tensors):
        return finished, 0
    model = finished.model.copy()
    ConstantNodes().apply(model)
    count = written_out(model)
    return (read(model), count) if count else (finished, 0)


def _notes(graph: Switched, floats: Model | None, operators: int) -> tuple[str, ...]:
    notes = []
    if floats is None and any(why == NO_FLOATS for _, why in graph.left_out):
        notes.append("no float model is known: what weights lost by being rounded is not in these figures")
    if operators:
        told = "1 operator computes" if operators == 1 else f"{operators} operators compute"
        notes.append(f"{told} on integers: measured as the float operator between Q and DQ that it stands for")
    return tuple(notes)
