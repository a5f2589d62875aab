"""Nodes of a file that is measured as it is which the runtime's fused kernels compute otherwise than it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdsl.diag import Diagnostic, Severity
from qdsl.findings.as_it_runs import integer_products
from qdsl.plan import Decisions
from qdsl.spec.plan import AS_IT_IS
from qdsl.spec.words import plain
from qdsl.work.prepared import Prepared

_SHOWN = 3
_NAME = 60


def misread_nodes(prepared: Prepared, decided: Decisions) -> Iterator[Diagnostic]:
    """One warning about all of them, under `quantize none`."""
    if decided.plan.mode != AS_IT_IS:
        return
    context = decided.context
    # Which nodes are fused depends on the family of CPUs alone: the first that the target names speaks for all.
    family = next((cpu.family for cpu in context.capability.cpus if cpu.name in context.cpus), "")
    products = integer_products(prepared, decided, family)
    found = context.runtime.misreads(prepared.model, prepared.view, products)
    if found is None:
        return
    count = sum(map(len, found.nodes.values()))
    nodes = "1 node computes" if count == 1 else f"{count} nodes compute"
    yield Diagnostic(
        "fused-otherwise",
        f"{nodes} something else than the file says, once the runtime has fused it",
        context.cascade.mode.span,
        help=found.cures,
        notes=tuple(f"{_shown(names)}: {why}" for why, names in found.nodes.items()),
        severity=Severity.WARNING,
    )


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(plain(name)[:_NAME] for name in names[:_SHOWN]) + more
