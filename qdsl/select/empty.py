"""What is told of a selector that matches nothing, or not as many as `expect` says."""

from __future__ import annotations

from collections.abc import Iterable

from qdsl.diag import Diagnostics, Span


def empty(diags: Diagnostics, kind: str, span: Span, label: str, help: Iterable[str] = ()) -> None:
    """Report selector-empty: no node, tensor or connection (`kind`) is matched."""
    diags.error("selector-empty", f"this selector matches no {kind}", span, label=label, help=help)


def miscount(diags: Diagnostics, found: str, expect: int, span: Span, label: str, help: Iterable[str] = ()) -> None:
    """Report selector-count: `found` says in words what is matched where `expect` are wanted."""
    diags.error("selector-count", f"this selector matches {found}, not {expect}", span, label=label, help=help)
