"""Tables of ST's reports: a line of dashes below the headings says where the columns stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

_COLUMN = re.compile(r"-+")


def is_dashes(line: str) -> bool:
    """Whether a line has dashes and blanks alone."""
    return bool(line.strip()) and not line.strip(" -") and "---" in line


def columns(line: str) -> tuple[int, ...]:
    """Where the columns begin under which a line of dashes stands."""
    return tuple(found.start() for found in _COLUMN.finditer(line))


def rows(lines: Sequence[str], at: int) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The number of each line and its cells by heading, of the table whose headings stand at line `at` above a line of
    dashes, until what is no row."""
    if at + 1 >= len(lines) or not is_dashes(lines[at + 1]):
        return
    starts = columns(lines[at + 1])
    heads = _cells(lines[at], starts)
    for number in range(at + 2, len(lines)):
        line = lines[number]
        if is_dashes(line):
            continue
        if not line.strip() or not _fits(line, starts):
            return
        yield number, dict(zip(heads, _cells(line, starts), strict=True))


def _cells(line: str, starts: Sequence[int]) -> list[str]:
    ends = [*starts[1:], len(line)]
    return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _fits(line: str, starts: Sequence[int]) -> bool:
    """Whether each column begins after a blank: a line of text does not."""
    return all(start == 0 or start > len(line) or line[start - 1] in " |" for start in starts)
