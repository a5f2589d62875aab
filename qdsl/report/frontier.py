"""What an exact choice of `allocate` could take: the least loss for every size of the file, or every cost of
activations, with what was chosen."""

from __future__ import annotations

from qdsl.report import charts
from qdsl.report.axes import axis
from qdsl.report.charts import Series, Words
from qdsl.report.data import Method
from qdsl.report.html import Html
from qdsl.spec.widths import Allocation
from qdsl.spec.words import count, mebibytes

_MIB = 1 << 20
_BYTES = "size"
_AXES = {_BYTES: "MiB", "activation_bits": "bits of an activation, mean", "bops": "bit operations"}


def drawn(method: Method) -> list[Html]:
    """A chart of the frontier; none where nothing was chosen exactly, or it was not followed to its end."""
    told = method.build.allocations.get(method.facts.target)
    found = None if told is None else told.exact
    if found is None or not found.sizes:
        return []
    each = _MIB if found.measure == _BYTES else found.each
    points = tuple((size / each, loss) for size, loss in zip(found.sizes, found.losses, strict=True))
    words = _of_weights(found) if found.measure == _BYTES else _of_activations(found)
    series = [Series("least loss", 1, points), Series("chosen", 2, ((found.size / each, found.loss),))]
    sizes, losses = [x for x, _ in points], [y for _, y in points]
    name = _AXES.get(found.measure, found.measure)
    return [charts.lines(words, axis(name, sizes), axis("loss", losses, zero=True), series, dots=True)]


def _of_weights(found: Allocation) -> Words:
    return Words(
        "What a smaller file costs",
        f"The least loss by the size of the file; chosen: {mebibytes(found.size)} at {found.loss:.3g}.",
        f"The sum of the layers' losses, foreseen. {_many(found, 'weight')} in size and loss.",
    )


def _of_activations(found: Allocation) -> Words:
    cost = f"{found.size / found.each:,.4g} {found.measure}"
    return Words(
        "What narrower activations cost",
        f"The least loss by {found.measure}; chosen: {cost} at {found.loss:.3g}.",
        "The noise of the outputs over their signal with each activation alone in its width, added up. "
        f"{_many(found, 'activation')} in {found.measure} and loss. Widths between stored types are emulated.",
    )


def _many(found: Allocation, unit: str) -> str:
    points = count(len(found.sizes), "assignment")
    return f"{count(len(found.units), unit)}, {points} that none beats"
