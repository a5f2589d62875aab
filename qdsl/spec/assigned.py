"""What `allocate` gave: a type for each unit that it decided."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Assigned:
    """`choice` for `node`, in the words of a recipe: "int4", "6 bit" or "float32". Nodes without one are left to what
    the recipe says of them."""

    node: str
    choice: str
