"""Whether torch is here. It is an extra: nothing but the executor needs it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from qdsl.diag import Diagnostic, QdslError, Span
from qdsl.spec import install_extra


def has_torch() -> bool:
    """Whether torch is installed; it is not loaded."""
    return find_spec("torch") is not None


def require_torch(
    what: str = "running a model with gradients", span: Span | None = None, *, load: bool = False
) -> None:
    """Raises QdslError torch-absent where torch is not installed, or with `load` cannot be loaded. `what` opens the
    sentence; `span` is the place in the recipe that asks for it."""
    why = _why_not(load)
    if why is not None:
        help = (f"install it: {install_extra('train')}",)
        raise QdslError([Diagnostic("torch-absent", f"{what} needs the package `torch`{why}", span, help=help)])


def _why_not(load: bool) -> str | None:
    """Why torch cannot be used, "" where it is not installed; None where it can."""
    if not has_torch():
        return ""
    try:
        if load:
            import_module("torch")
    except (ImportError, OSError) as error:  # a library of it, or of CUDA, that is not there
        return f", and what is installed cannot be loaded: {' '.join(str(error).split())[:200]}"
    return None
