"""An artifact, ready to answer samples on this machine as its C does on a board, to the bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import onnx

from qdsl.diag import Diagnostic, QdslError
from qdsl.spec.bounds import OneOf, Text, UnfitError
from qdsl.spec.decode import decode, json_data
from qdsl.targets.results import Emitted
from qdsl.targets.stm32.asked import Asked
from qdsl.targets.stm32.golden import Golden
from qdsl.targets.stm32.making import integer_graph


@dataclass(frozen=True, slots=True)
class _Made:
    """What the C was made of and for, as the manifest says it."""

    recipe: Annotated[str, Text(300)]
    rounding: Annotated[str, OneOf(("ort", "tflite"))]


def runner(emitted: Emitted) -> Golden:
    """It takes and answers floats, whatever the C's inputs and outputs are. Raises QdslError artifact-refused for a
    manifest that is not as it was written, stm32-no-form."""
    made = _made(emitted)
    graph = integer_graph(onnx.load(emitted.model), made.recipe, Asked(), emitted.span)
    return Golden(graph, "tflite" if made.rounding == "tflite" else "ort", span=emitted.span)


def _made(emitted: Emitted) -> _Made:
    try:
        said = json_data(emitted.manifest.read_text(encoding="utf-8", errors="replace"))
        return decode(_Made, {key: said[key] for key in ("recipe", "rounding")})
    except (UnfitError, TypeError, KeyError) as reason:
        label = str(reason) if isinstance(reason, UnfitError) else "it does not say how the C rounds"
        headline = f"the {emitted.manifest.name} of the artifact was changed since it was written"
        cures = ("make the artifact anew: `qdsl compile RECIPE`",)
        raise QdslError([Diagnostic("artifact-refused", headline, label=label[:300], help=cures)]) from None
