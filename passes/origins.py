"""How a node that a pass writes says where it comes from, and what it stands for."""

from __future__ import annotations

from qdsl.spec.plan import Origin

ORIGIN_KEY = "qdsl.origin"
# A node of the float model that gave way to several: each of them says its name.
REPLACES_KEY = "qdsl.replaces"


def origin_text(origin: Origin, recipe: str) -> str:
    """The rule and its line, for readers of the recipe called `recipe`; the file, too, where it is another."""
    return origin.told(recipe)
