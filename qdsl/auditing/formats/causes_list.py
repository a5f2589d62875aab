"""Where the error of the outputs comes from, as a list beside the drawing: what would help most comes first."""

from __future__ import annotations

import math
from collections.abc import Iterator

from qdsl.auditing.formats.drawing import Drawing
from qdsl.auditing.formats.svg import decibels
from qdsl.auditing.formats.wiring import Wiring
from qdsl.auditing.report import AuditReport
from qdsl.causes.records import Cause, Causes
from qdsl.report.html import NOTHING, Html, tag
from qdsl.spec.words import count, plain, shortened

_SHOWN = 10
_LONGEST = 200  # characters of a name


def causes(wiring: Wiring, drawing: Drawing) -> Html:
    """The section; nothing where causes were not looked for."""
    found = wiring.report.causes
    if found is None:
        return NOTHING
    measured = [each for each in found.causes if each.measured][:_SHOWN]
    return tag(
        "section",
        tag("h2", "Where the error comes from"),
        *_about(found),
        tag("ol", *(_item(wiring, drawing, each) for each in measured)),
        id="causes",
        aria_label="Where the error comes from",
    )


def noise_shares(report: AuditReport) -> dict[str, float]:
    """By tensor, how much of the noise at the outputs is due to it, where that was measured."""
    every = () if report.causes is None else report.causes.causes
    known = ((each.tensor, each.share) for each in every if each.measured)
    return {tensor: share for tensor, share in known if share is not None and math.isfinite(share)}


def _about(found: Causes) -> Iterator[Html]:
    told = "no figure" if found.outputs_db is None else decibels(found.outputs_db)
    samples = f"{count(found.samples, 'sample')} of {plain(found.source)}"
    yield tag("p", f"Outputs: {told} from the float values, measured on {samples}.", class_="note")
    for note in found.notes:
        yield tag("p", plain(note), class_="note")


def _item(wiring: Wiring, drawing: Drawing, cause: Cause) -> Html:
    places = (("tensor", cause.tensor), ("node", cause.node))
    nodes = (wiring.places.get(place) for place in places)
    box = next((drawing.of_node[node] for node in nodes if node is not None and node in drawing.of_node), None)
    more = f" and {len(cause.also)} more" if cause.also else ""
    words = f"{cause.role} {shortened(plain(cause.tensor), _LONGEST)}{more}"
    parts = [tag("button", words, type="button", class_="go") if box is not None else tag("b", words)]
    parts.append(tag("p", ", ".join(_figures(cause)), class_="note"))
    if cause.cure is not None:
        parts += [tag("p", f"Recipe: {plain(line)}", class_="cure") for line in cause.cure.lines]
        parts.append(tag("p", f"tried {plain(cause.cure.tried)}: {cause.cure.gain_db:+.1f} dB", class_="note"))
    return tag("li", *parts, data_boxes="" if box is None else str(box))


def _figures(cause: Cause) -> Iterator[str]:
    if cause.share is not None and math.isfinite(cause.share):
        yield f"{100 * cause.share:.0f} % of the noise at the outputs"
    for title, value in (
        ("alone", cause.alone_db),
        ("its own error", cause.own_db),
        ("inherited", cause.inherited_db),
    ):
        if value is not None:
            yield f"{title} {decibels(value)}"
