"""What code hosts ask of a finding, whichever they are: a path in the repository, a fingerprint, its words."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.auditing.finding import Finding, Place
from qdsl.auditing.report import AuditReport
from qdsl.spec.words import plain, shortened


@dataclass(frozen=True, slots=True)
class Told:
    """A finding, whichever target it was found on, with the `targets` whose section has it, and a `fingerprint` of 64
    hexadecimal digits: no two of a report are equal, and one stays as it is while its rule, its place and the path of
    the file do."""

    found: Finding
    targets: tuple[str, ...]
    fingerprint: str


def told(report: AuditReport) -> Iterator[Told]:
    """Every finding of the report once, the waived ones too, in the order of the report."""
    targets: dict[Finding, list[str]] = {}
    for section in report.sections:
        for found in dict.fromkeys(replace(each, targets=()) for each in section.findings):
            targets.setdefault(found, []).append(section.target)
    seen: Counter[str] = Counter()
    file = relative(report.file)
    for found, where in targets.items():
        base = "\0".join((found.rule, file, found.place.kind, found.place.name, str(found.place.port)))
        # Two of one rule at one place (a pair that is doubled twice) are told apart by their order alone.
        number = seen[base]
        seen[base] += 1
        yield Told(found, tuple(where), hashlib.sha256(f"{base}\0{number}".encode(errors="replace")).hexdigest())


def relative(path: str) -> str:
    """`path` as a repository names it: from the working directory, with `/`. What lies outside it goes by its name
    alone, so that no path of this machine is told."""
    given = Path(path)
    here = Path.cwd()
    whole = given if given.is_absolute() else here / given
    try:
        inside = Path(_normal(whole)).relative_to(here)
    except ValueError:
        return given.name
    return inside.as_posix()


def _normal(path: Path) -> str:
    """Without `.` and `..`, links left as they are: a repository knows a file by the name it was given."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            if len(parts) > 1:
                parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))


def where(place: Place) -> str:
    """The place in a few words: "node `/a`, input 1"."""
    if place.kind == "file":
        return "the file"
    port = f", input {place.port}" if place.port >= 0 else ""
    return f"{place.kind} `{shortened(plain(place.name), 200)}`{port}"


def message(found: Finding) -> str:
    """What is wrong, on one line, with its place where the words do not name it."""
    words = plain(found.message)
    return (
        words if found.place.kind == "file" or found.place.name in found.message else f"{words} ({where(found.place)})"
    )


def cures(found: Finding) -> tuple[str, ...]:
    """What mends it, one sentence each."""
    fix = found.fix
    if fix is None:
        return ()
    lines = tuple(f"Recipe: {plain(line)}" for line in fix.lines)
    exact = ", and what the file computes stays the same to the bit" if fix.exact else ""
    return (*lines, f"`qdsl audit --fix` carries out {plain(fix.rewrite)}{exact}.") if fix.rewrite else lines


def whole(found: Finding) -> str:
    """The finding in lines: what, why, what mends it, who allows it."""
    lines = [message(found), plain(found.why), *cures(found)]
    if found.waived:
        lines.append(f"Allowed: {plain(found.waived)}")
    return "\n".join(line for line in lines if line)
