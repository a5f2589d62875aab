"""`network_{analyze,generate,validate}_report.txt`, as versions 8 to 4 of ST's tool write it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from qdsl.spec.bounds import UnfitError
from qdsl.stedgeai.dashed import is_dashes, rows
from qdsl.stedgeai.evaluation import evaluation
from qdsl.stedgeai.kernels import by_operation
from qdsl.stedgeai.told import MOST, NodeTold, Told

_HEADS = (
    re.compile(r"ST ?Edge ?AI Core v(\d[\w.\-]*(?: \w+)?)", re.I),
    re.compile(r"Neural Network Tools for STM32.*\(stm\.ai v(\d[\w.\-]*)", re.I),
)
_PAIR = re.compile(r"^ ?(\w[\w /#().\-]*?)\s*:\s(.*)$")
_BYTES = re.compile(r"^([\d,]+) B\b")
_WHOLE = re.compile(r"^([\d,]+)(?:\s|$)")
_IO = re.compile(r"= ([\d,]+) \+ ([\d,]+) \+ ([\d,]+)")
_DURATION = re.compile(r"^([\d.,]+) ?(us|ms|s)\b")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_NAMED = re.compile(r"^(.*?) ?\(([\w ]+)\)$")
_SECTION = re.compile(r"^\s*(RT total|TOTAL)\**\s+([\d,]+)\s+([\d,]+)\s+([\d,]+)\s+([\d,]+)\s*$")
_LONGEST_LINE = 20_000


def is_text_report(text: str) -> bool:
    """Whether a text begins as such a report does, whatever follows."""
    return any(head.search(text[:2000]) for head in _HEADS)


def read_text(text: str) -> Told:
    """Raises UnfitError with the line of what does not fit."""
    lines = text.split("\n")
    if len(lines) > MOST or any(len(line) > _LONGEST_LINE for line in lines):
        raise UnfitError("it is longer than a report is")
    lines = [line.rstrip("\r ") for line in lines]
    pairs = {key: (number, value) for number, key, value in _pairs(lines)}
    words, sizes = _words(pairs), _sections(lines)
    inputs, outputs = _outside(pairs)
    found = Told(
        version=_version(lines),
        command=words.get("Parameters", "").split(" ", 1)[0][:100],
        series=words.get("target/series", ""),
        model=words.get("model_name", ""),
        model_hash=words.get("model_hash", ""),
        scheme=words.get("model_fmt", ""),
        macc=_amount(pairs, "macc", _WHOLE),
        weights=_amount(pairs, "weights (ro)", _BYTES),
        activations=_amount(pairs, "activations (rw)", _BYTES),
        inputs=inputs,
        outputs=outputs,
        flash=sizes.get("flash"),
        ram=sizes.get("ram"),
        runtime_flash=sizes.get("runtime_flash"),
        runtime_ram=sizes.get("runtime_ram"),
        nodes=_nodes(lines),
        scores=evaluation(lines),
        samples=_amount(pairs, "nb sample(s)", _WHOLE),
        seconds=_seconds(pairs),
        cycles=_amount(pairs, "CPU cycles", _WHOLE),
        device=words.get("device", ""),
    )
    if found.macc is None and found.weights is None and not found.scores:
        raise UnfitError("it says neither what the network takes nor what validation measured")
    return found


def _version(lines: Sequence[str]) -> str:
    for line in lines[:50]:
        for head in _HEADS:
            if found := head.search(line):
                return found[1]
    raise UnfitError("it is no report of ST Edge AI Core: its first lines do not say which version wrote it")


def _pairs(lines: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """`key : value` lines, with their number from 1 on; the first of a key counts."""
    seen = set()
    for number, line in enumerate(lines, 1):
        found = _PAIR.match(line)
        if found and found[1] not in seen:
            seen.add(found[1])
            yield number, found[1], found[2].strip()


def _words(pairs: Mapping[str, tuple[int, str]]) -> dict[str, str]:
    return {key: value[:1000] for key, (_, value) in pairs.items()}


def _amount(pairs: Mapping[str, tuple[int, str]], key: str, form: re.Pattern[str]) -> int | None:
    """A whole number with commas; raises UnfitError where the key stands and none follows."""
    if key not in pairs:
        return None
    number, value = pairs[key]
    found = form.search(value)
    if found is None:
        raise UnfitError(f"expected a number of `{key}`, found {value[:60]!r}", f"line {number}")
    return whole(found[1], number)


def whole(text: str, number: int) -> int:
    """The number of digits with commas between them. Raises UnfitError."""
    digits = text.replace(",", "")
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
        raise UnfitError(f"expected a whole number, found {text[:60]!r}", f"line {number}")
    return int(digits)


def _outside(pairs: Mapping[str, tuple[int, str]]) -> tuple[int | None, int | None]:
    """What inputs and outputs take outside the activations: `ram (total) : R = activations + inputs + outputs`."""
    number, value = pairs.get("ram (total)", (0, ""))
    found = _IO.search(value)
    return (whole(found[2], number), whole(found[3], number)) if found else (None, None)


def _seconds(pairs: Mapping[str, tuple[int, str]]) -> float | None:
    if "duration" not in pairs:
        return None
    number, value = pairs["duration"]
    found = _DURATION.match(value)
    try:
        return float(found[1].replace(",", "")) * _UNITS[found[2]] if found else None
    except ValueError:
        raise UnfitError(f"expected a duration, found {value[:60]!r}", f"line {number}") from None


def _nodes(lines: Sequence[str]) -> tuple[NodeTold, ...]:
    """The nodes of the C by "Number of operations per c-layer", with their part of the time where validation measured
    one."""
    durations = _durations(lines)
    found = []
    for number, row in _table(lines, ("c_id", "m_id", "#op")):
        cell = next((row[key] for key in row if key.startswith("name")), "")
        named = _NAMED.match(cell)
        name, kind = (named[1], named[2]) if named else (cell, "")
        operations = row.get("#op", "")
        macc = whole(operations, number + 1) if operations else None
        runs = by_operation(row.get("type", ""))
        found.append(NodeTold(name[:1000], kind[:1000], macc, runs, duration=durations.get(row.get("c_id", ""))))
    return tuple(found)


def _durations(lines: Sequence[str]) -> dict[str, float]:
    """The part of the time of each C node, by its number, of the complexity table of a validation."""
    found = {}
    for _, row in _table(lines, ("m_id", "name", "c_macc")):
        share = re.search(r"([\d.]+)%", row.get("c_duration", ""))
        at = re.fullmatch(r"\[(\d+)\]", row.get("c_id", ""))
        if share and at and share[1].count(".") <= 1:
            found[at[1]] = min(1.0, float(share[1].strip(".") or 0) / 100)
    return found


def _table(lines: Sequence[str], heads: Sequence[str]) -> Iterator[tuple[int, Mapping[str, str]]]:
    """The rows of the first table with these headings that begin with a number."""
    for at in range(1, len(lines) - 1):
        words = lines[at].split()
        if words[:1] == [heads[0]] and is_dashes(lines[at - 1]) and set(heads) <= set(words):
            yield from (row for row in rows(lines, at) if row[1].get(heads[0], "").isdecimal())
            return


def _sections(lines: Sequence[str]) -> dict[str, int]:
    """Flash and RAM of "Requested memory size by section" (text, rodata, data, bss): what has a first value is in both.
    They are there only where the tool found a compiler."""
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        row = _SECTION.match(line)
        if row:
            text, rodata, data, bss = (whole(row[at], number) for at in (2, 3, 4, 5))
            kind = "" if row[1] == "TOTAL" else "runtime_"
            found |= {f"{kind}flash": text + rodata + data, f"{kind}ram": data + bss}
    return found
