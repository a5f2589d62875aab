"""The calibration pictures of a recipe, decoded once into one file: what every side of a comparison reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qdsl import data
from qdsl.work.prepared import prepare, read


@dataclass(frozen=True, slots=True)
class Decoded:
    """uint8 pixels [count, *shape] in a file, and the model input that takes them, divided by 255."""

    path: Path
    input: str
    shape: tuple[int, ...]
    count: int


def decode(recipe: Path, count: int, to: Path) -> Decoded:
    """Write `count` pictures of the recipe's `calib` after its geometry, before its arithmetic (`rescale 1/255`)."""
    prepared = prepare(read(recipe, None))
    (name,) = prepared.view.inputs
    (block,) = prepared.recipe.inputs
    steps = tuple(step for step in block.steps if step.name != "rescale")
    takes = {name: data.ModelInput("float32", prepared.view.tensors[name].shape)}
    spec = replace(prepared.recipe.dataset("calib"), take=(count, 7))
    held = data.open(spec, (replace(block, steps=steps),), takes)
    shape: tuple[int, ...] = ()
    with to.open("wb") as file:
        for sample in held.prefetch(2):
            pixels = sample.arrays[name].astype(np.uint8)
            shape = tuple(int(n) for n in pixels.shape[1:])
            file.write(pixels.tobytes())
    return Decoded(to, name, shape, len(held))
