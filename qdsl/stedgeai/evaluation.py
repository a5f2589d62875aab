"""The evaluation report at the end of a validation: what ST's C was held against, and how far it is from it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qdsl.spec.bounds import UnfitError
from qdsl.stedgeai.dashed import is_dashes
from qdsl.stedgeai.told import ScoreTold

_TITLE = re.compile(r"^\s*Evaluation report")
_ROW = re.compile(r"^\s*(\S.*?#\d+)\s+(.*)$")
_METRICS = ("acc", "rmse", "mae", "l2r", "mean", "std", "nse", "cos")
_NONE = frozenset({"n.a.", "n/a", "na", "-", "..."})


def evaluation(lines: Sequence[str]) -> tuple[ScoreTold, ...]:
    """One score a line: `X-cross #1  98.29%  0.08  0.01  0.16  'output', 527 x f32(1x4)`. The headings say which
    figures there are; "n.a." is none. Raises UnfitError with the line."""
    title = next((at for at, line in enumerate(lines) if _TITLE.match(line)), None)
    if title is None:
        return ()
    head = next((at for at in range(title, len(lines)) if lines[at].split()[:1] == ["Output"]), None)
    if head is None:
        return ()
    names = [word for word in lines[head].split()[1:] if word != "tensor"]
    found: list[ScoreTold] = []
    for at in range(head + 1, len(lines)):
        if is_dashes(lines[at]):
            if found:
                break
            continue
        row = _ROW.match(lines[at])
        if row is None:
            break
        found.append(_score(row[1], row[2], names, at + 1))
    return tuple(found)


def _score(label: str, rest: str, names: Sequence[str], number: int) -> ScoreTold:
    words = rest.split(None, len(names))
    if len(words) < len(names):
        raise UnfitError(f"expected {len(names)} figures of `{label[:60]}`, found {len(words)}", f"line {number}")
    figures = {name: _figure(word, number) for name, word in zip(names, words, strict=False) if name in _METRICS}
    tensor = words[len(names)] if len(words) > len(names) else ""
    return ScoreTold(" ".join(label.split())[:1000], tensor[:1000], **figures)


def _figure(word: str, number: int) -> float | None:
    if word in _NONE:
        return None
    try:
        value = float(word.rstrip("%"))
    except ValueError:
        raise UnfitError(f"expected a figure, found {word[:60]!r}", f"line {number}") from None
    if not abs(value) <= 1e18:
        raise UnfitError(f"expected a finite figure, found {word[:60]!r}", f"line {number}")
    return value / 100 if word.endswith("%") else value
