"""Diagnostic codes raised by this part of the product."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {}
