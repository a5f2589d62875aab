"""Settings of a target block that speak of emitted C, in targets that emit none."""

from __future__ import annotations

from collections.abc import Iterator

from qdsl.diag import Diagnostic
from qdsl.lang.recipe import Target

_OF_C = {
    "io": "graph inputs and outputs stay float32",
    "optimize": "its kernels are the runtime's own",
    "rounding": "its kernels round as the runtime does",
    "kernels": "its kernels are the runtime's own",
}


def words_of_c(block: Target, title: str) -> Iterator[Diagnostic]:
    """An error for each of them, at its line; `title` is what the target is called."""
    for word, place in block.places:
        if word in _OF_C:
            headline = f"`{word}` says nothing to {title}"
            cure = f"take `{word}` out, or write it in `target stm32`"
            yield Diagnostic("target-cannot", headline, place, _OF_C[word], (cure,))
