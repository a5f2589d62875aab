"""A model that somebody quantized, read: nothing is run, nothing is changed, and no weight is loaded."""

from __future__ import annotations

import numpy as np

from qdsl.finished.bodies import tell_bodies
from qdsl.finished.dialects import dialects
from qdsl.finished.fakes import read_fakes
from qdsl.finished.operators import read_operands, read_written
from qdsl.finished.pairs import read_dequantizers, read_quantizers
from qdsl.finished.records import Finished
from qdsl.finished.work import Work
from qdsl.graph import Model
from qdsl.graph.collector import collector_paused


def read(model: Model) -> Finished:
    """What `model` holds of quantization. Linear in the graph. Only scales and zero points are read of its constants.

    Raises `model-cycle` as `Model.view` does."""
    with collector_paused(), np.errstate(all="ignore"):  # a scale that is no number is told as a fault
        return _read(model)


def _read(model: Model) -> Finished:
    work = Work(model, model.view())
    for part in (read_quantizers, read_written, read_dequantizers, read_operands, read_fakes, tell_bodies):
        part(work)
    return Finished(
        model=model,
        view=work.view,
        tensors=tuple(record for _, record in sorted(work.found, key=lambda found: found[0])),
        dialects=dialects(work),
        faults=tuple(work.faults.values()),
        metadata={prop.key: prop.value for prop in model.shell.metadata_props},
    )
