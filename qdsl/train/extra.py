"""Whether torch is here. It is an extra: nothing but the executor needs it."""

from __future__ import annotations

from importlib.util import find_spec

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.spec import install_extra


def has_torch() -> bool:
    """Whether torch is installed; it is not loaded."""
    return find_spec("torch") is not None


def require_torch(what: str = "running a model with gradients", span: Span | None = None) -> None:
    """Raises QdslError torch-absent where torch is not installed. `what` opens the sentence; `span` is the place in
    the recipe that asks for it."""
    if not has_torch():
        help = (f"install it: {install_extra('train')}",)
        raise QdslError([Diagnostic("torch-absent", f"{what} needs the package `torch`", span, help=help)])
