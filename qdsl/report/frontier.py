"""What `allocate weights` could choose: the least loss for every size of the file, with what was chosen."""

from __future__ import annotations

from qdsl.report import charts
from qdsl.report.axes import axis
from qdsl.report.charts import Series, Words
from qdsl.report.data import Method
from qdsl.report.html import Html
from qdsl.spec.words import count, mebibytes


def drawn(method: Method) -> list[Html]:
    """A chart of the frontier; none where weights were not allocated, or it was not followed to its end."""
    told = method.build.allocations.get(method.facts.target)
    found = None if told is None else told.exact
    if found is None or not found.sizes:
        return []
    points = tuple((size / (1 << 20), loss) for size, loss in zip(found.sizes, found.losses, strict=True))
    chosen = (found.size / (1 << 20), found.loss)
    types = f"{count(len(found.units), 'weight')}, {count(len(points), 'assignment')} that none beats in size and loss"
    words = Words(
        "What a smaller file costs",
        f"The least loss by the size of the file; chosen: {mebibytes(found.size)} at {found.loss:.3g}.",
        f"The sum of the layers' losses, foreseen. {types}.",
    )
    series = [Series("least loss", 1, points), Series("chosen", 2, (chosen,))]
    sizes, losses = [x for x, _ in points], [y for _, y in points]
    return [charts.lines(words, axis("MiB", sizes), axis("loss", losses, zero=True), series, dots=True)]
