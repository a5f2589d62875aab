"""Diagnostics: where, what, and how to mend it. Standard library only."""

from qdsl.diag.model import Diagnostic, Diagnostics, QdslError, Severity, Span, and_more, nearest
from qdsl.diag.placed import Placed
from qdsl.diag.render import one_line, render, render_all

__all__ = [
    "Diagnostic",
    "Diagnostics",
    "Placed",
    "QdslError",
    "Severity",
    "Span",
    "and_more",
    "nearest",
    "one_line",
    "render",
    "render_all",
]
