"""The ids of the audit's rules: what `allow` may name in a recipe. Each is a file of its name in
`qdsl/auditing/rules`."""

from __future__ import annotations

# In the order in which they are told, one a line.
RULES: tuple[str, ...] = ()
