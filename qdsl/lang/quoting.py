"""Names of nodes and tensors as a recipe writes them."""

from __future__ import annotations

from collections.abc import Sequence

_MOST_NAMES = 40


def names(found: Sequence[str]) -> str | None:
    """Names as a selector reads them: `"a"` or `["a", "b"]`. None for names that no recipe can hold, or too many."""
    if len(found) > _MOST_NAMES or not all(name.isprintable() for name in found):
        return None
    texts = [quoted(name) for name in found]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def quoted(text: str) -> str:
    """`text` as a string of a recipe."""
    return f'"{_escaped(text)}"'


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace('"', '\\"')
