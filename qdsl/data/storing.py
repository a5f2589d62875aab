"""Samples in a form that another machine can finish: pixels after the geometric steps, and what arithmetic is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qdsl.data.opening import PictureReader
from qdsl.data.preprocess import GEOMETRY, Pipeline
from qdsl.data.types import Dataset, ModelInput
from qdsl.lang.recipe import InputStep

_ARITHMETIC = ("rescale", "mean", "std")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A dataset whose samples lack their last steps: for each input those steps as plain data, and the type that the
    model takes. Without steps the samples are as the model takes them."""

    dataset: Dataset
    steps: dict[str, tuple[dict[str, Any], ...]]
    types: dict[str, str]


def unfinished(dataset: Dataset, takes: dict[str, ModelInput]) -> Unfinished:
    """Pictures as uint8 [1, height, width, channels] where the steps allow it: 4 times smaller than what the model
    takes, and far better to compress. Other samples stay as they are."""
    reader = dataset.reader
    types = {name: _plain(each.dtype) for name, each in takes.items()}
    if not isinstance(reader, PictureReader) or not all(map(_in_order, reader.pipelines.values())):
        return Unfinished(dataset, dict.fromkeys(takes, ()), types)
    early = {name: _early(pipeline) for name, pipeline in reader.pipelines.items()}
    steps = {name: _late(pipeline) for name, pipeline in reader.pipelines.items()}
    return Unfinished(replace(dataset, reader=replace(reader, pipelines=early)), steps, types)


def _plain(dtype: str) -> str:
    return {"float": "float32", "double": "float64"}.get(dtype, dtype)


def _in_order(pipeline: Pipeline) -> bool:
    """Whether every geometric step stands before the first arithmetic one."""
    names = [step.name for step in pipeline.steps if step.name in GEOMETRY or step.name in _ARITHMETIC]
    first = next((at for at, name in enumerate(names) if name in _ARITHMETIC), len(names))
    return all(name in _ARITHMETIC for name in names[first:])


def _early(pipeline: Pipeline) -> Pipeline:
    kept = tuple(step for step in pipeline.steps if step.name in GEOMETRY)
    layout = InputStep("layout", ("nhwc",), pipeline.span)
    return replace(pipeline, steps=(*kept, layout), takes=ModelInput("uint8", None))


def _late(pipeline: Pipeline) -> tuple[dict[str, Any], ...]:
    steps: Sequence[InputStep] = [step for step in pipeline.steps if step.name in _ARITHMETIC]
    told = [{"step": step.name, "values": [float(value) for value in step.args]} for step in steps]
    return (*told, {"step": "layout", "values": [pipeline.layout]})
