"""Packages that `allocate` needs beside those that are always there: told before any sample is read."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from qdsl.allocate.width_costs import MEASURES
from qdsl.diag import Diagnostic, QdslError
from qdsl.lang.recipe import Allocate
from qdsl.spec import install_extra
from qdsl.train.extra import require_torch

_BY_GRADIENTS = frozenset({"gradient", "hessian"})


def missing(spec: Allocate | None) -> Iterator[Diagnostic]:
    """What the statement needs and is not installed, at what asks for it. A build from a lock chooses nothing, and
    needs none of it."""
    if spec is None:
        return
    bounded = [limit.require for limit in spec.limits if limit.require.metric.name in MEASURES]
    names = dict.fromkeys(require.metric.name for require in bounded)
    if spec.what == "activations" and len(names) > 1 and find_spec("scipy") is None:
        headline = f"{' and '.join(f'`{name}`' for name in names)} are bounded at once, which takes scipy"
        second = next(require for require in bounded if require.metric.name != bounded[0].metric.name)
        ways = (f"install it: {install_extra('search')}", "bound one of them")
        yield Diagnostic("allocate-bound", headline, second.span, help=ways)
    asked = spec.sensitivity
    if asked is not None and asked.method in _BY_GRADIENTS:
        try:
            require_torch(f"`sensitivity {asked.method}`", asked.span)
        except QdslError as error:
            yield from error.diagnostics


def require_there(spec: Allocate | None) -> None:
    """Raise QdslError allocate-bound, torch-absent for what is `missing`."""
    found = list(missing(spec))
    if found:
        raise QdslError(found)
