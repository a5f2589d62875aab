"""What a measurement was made on: the machine and the software, as far as both say so."""

from __future__ import annotations

from qdsl.harness import machine
from qdsl.version import __version__

PASSING = frozenset({"governor", "load"})


def environment() -> dict[str, str]:
    """Words by what they are about, in the order in which people ask."""
    return {"qdsl": __version__, **machine.environment()}


def lasting() -> dict[str, str]:
    """The same without what changes while one looks."""
    return {name: words for name, words in environment().items() if name not in PASSING}
