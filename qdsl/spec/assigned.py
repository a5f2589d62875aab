"""What `allocate` gave: a type for each unit that it decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Assigned:
    """`choice` for `node` (of activations: for the tensor of that name), in the words of a recipe: "int4", "6 bit" or
    "float32". What has none is left to what the recipe says of it."""

    node: str
    choice: str
