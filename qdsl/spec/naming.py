"""What the package index calls us. The import, the command and the wheel's only package are `qdsl`; that name
on the index belongs to another project."""

from __future__ import annotations

DISTRIBUTION = "qdsl-compiler"


def install_extra(extra: str) -> str:
    """The command that installs what an optional part of qdsl needs; `extra` is one of pyproject's."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"
