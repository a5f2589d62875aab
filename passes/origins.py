"""What a node that a pass writes says of where it comes from: the line of the recipe that asked for it, or the pass;
and which node it stands for. All of it is metadata of the node in the emitted file."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from qdsl.graph.edit import set_metadata
from qdsl.spec.plan import Origin

ORIGIN_KEY = "qdsl.origin"
# A node of the float model that gave way to several: each of them says its name.
REPLACES_KEY = "qdsl.replaces"
# A node of the float model that runs inside the one which says its name.
JOINS_KEY = "qdsl.joins"


def by_line(origin: Origin, recipe: str) -> dict[str, str]:
    """The rule and its line, for readers of the recipe called `recipe`; the file, too, where it is another."""
    return {ORIGIN_KEY: origin.told(recipe)}


def by_pass(name: str, replaces: str = "") -> dict[str, str]:
    """The pass that wrote the node of its own accord, and the node that it stands for."""
    return {ORIGIN_KEY: name} | ({REPLACES_KEY: replaces} if replaces else {})


def mark(node: gs.Node, told: Mapping[str, str]) -> None:
    """Write it on a node that was there before."""
    for key, value in told.items():
        set_metadata(node, key, value)
