"""Variants of one graph, run as written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from qdsl.causes.switching import Switched
from qdsl.graph import Model, save
from qdsl.spec.scratch import scratch
from qdsl.targets import reference
from qdsl.targets.base import Runner

Arrays = Mapping[str, Any]
_THREADS = 1  # of each run: several run side by side


class Variants:
    """A graph with switches, loaded once."""

    def __init__(self, switched: Switched, runner: Runner) -> None:
        self._switched, self._runner = switched, runner

    def run(self, arrays: Arrays, on: Collection[str]) -> Mapping[str, NDArray[Any]]:
        """Every output by name with the switches of the flags `on`. Safe from any thread. Raises QdslError
        artifact-refused."""
        return self._runner.run({**arrays, **self._switched.flags(on)})


@contextmanager
def loaded(switched: Switched, expose: Sequence[str] = (), model: Model | None = None) -> Iterator[Variants]:
    """The graph of `switched`, or `model` made from it, with the inner tensors `expose` among its outputs. Raises
    QdslError artifact-refused, model-write."""
    with scratch() as folder:
        path = folder / "switched.onnx"
        save(exposing(switched.model if model is None else model, expose), path)
        yield Variants(switched, reference().float_runner(path, _THREADS, as_written=True, span=switched.model.span))


def exposing(model: Model, names: Sequence[str]) -> Model:
    """A copy of `model` with more outputs; the model itself without any."""
    if not names:
        return model
    made = model.copy()
    public = {tensor.name for tensor in made.graph.outputs}
    for name in dict.fromkeys(names):
        tensor = made.tensor(name)
        if name not in public and tensor is not None:
            made.graph.outputs.append(tensor)
    return made
