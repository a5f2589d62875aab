"""What an audit finds, as data. Standard library and floor 0 only: formats and other rooms read it without a model."""

from __future__ import annotations

from dataclasses import dataclass

from qdsl.diag import Severity, Span


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where in a file. `kind` is "node", "tensor" or "file" (the whole of it, `name` is "" then); `port` the input of
    the node, -1 for none."""

    kind: str
    name: str = ""
    port: int = -1


@dataclass(frozen=True, slots=True)
class Fix:
    """What mends it: lines of a recipe, to be added to the one that makes the file; or the name of a rewrite that
    `--fix` carries out on the file itself. `exact`: what the file computes stays the same to the bit."""

    lines: tuple[str, ...] = ()
    rewrite: str = ""
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `rule` is its snake_case id in the index, stable across versions; `message` says what is wrong in
    one line that makes sense alone, `why` what comes of it and on which of `targets`. `also` are further places of the
    same finding. `origin` are the recipe's words where the file has them ("quantize static, line 17"), `line` the place
    in the recipe that the audit was given, None without one. `waived` says why it is allowed ("" where it is not)."""

    rule: str
    severity: Severity
    place: Place
    message: str
    why: str
    targets: tuple[str, ...] = ()
    also: tuple[Place, ...] = ()
    fix: Fix | None = None
    origin: str = ""
    line: Span | None = None
    waived: str = ""
