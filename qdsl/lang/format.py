"""The canonical form of a recipe: spaces, indents and alignment; the author keeps the order, the line breaks between
statements, and the comments.

Works on tokens, so that nothing but layout can change, and proves it on each text: both parse to equal trees.

- A block that the author wrote on one line stays on one line where it fits in 120 columns; other blocks have one line
  per statement, or several where the author joined short ones by `;`, indented by two.
- In a block of settings alone the values are aligned; so are neighbouring `data`, `param` and `select` lines, and the
  comments at the ends of neighbouring lines. Never more than one empty line, none at the ends of a block.
- A statement that is too long breaks after `,` `and` `or`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qdsl.diag import QdslError
from qdsl.lang.layout import Block, Comment, Entry, Gap, Line, Piece, Statement, entries
from qdsl.lang.parse import grammar, parse, tokenize
from qdsl.lang.tokens import Faults
from qdsl.spec import UNITS

_WIDTH = 120
_STEP = "  "
_CONTINUED = "    "
_ALIGNED = ("data", "param", "select")


def format_text(text: str, name: str) -> str:
    """The canonical form; formatting it again changes nothing. Raises QdslError when the text has syntax errors."""
    text = text.removeprefix("\ufeff")
    before = parse(text, name)
    if before.diagnostics:
        raise QdslError(before.diagnostics)
    full, _ = tokenize(text, Faults(name, []))
    rows = _block(entries(full), "")
    made = "\n".join(rows) + "\n" if rows else ""
    if parse(made, name).tree != before.tree:
        raise RuntimeError(f"formatting would change what {name} says")
    return made


def said(text: str, name: str) -> list[str]:
    """What a text says, a line for each statement and each setting, which stands behind the headers of its blocks:
    `quantize static: weights int8`. No comments, no layout. Raises QdslError when the text has syntax errors."""
    text = text.removeprefix("\ufeff")
    parsed = parse(text, name)
    if parsed.diagnostics:
        raise QdslError(parsed.diagnostics)
    return list(_said(entries(tokenize(text, Faults(name, []))[0]), ""))


def _said(found: Sequence[Entry], header: str) -> Iterator[str]:
    statements = [one for entry in found if isinstance(entry, Line) for one in entry.statements]
    for one in statements:
        pieces = [piece for piece in one.pieces if piece.kind != "COMMENT"]
        words = header + "".join(_space(pieces, at) + piece.text for at, piece in enumerate(pieces))
        if one.block is None or not one.block.entries:
            yield words
        else:
            yield from _said(one.block.entries, f"{words}: ")


@dataclass(slots=True)
class _Row:
    """One printed entry: its lines, and the comment that ends the last of them."""

    lines: list[str]
    comment: str = ""


def _block(found: Sequence[Entry], indent: str) -> list[str]:
    """The lines of a block's inside, or of the file."""
    found = list(_apart(found, indent))
    pads = _pads(found, indent)
    rows: list[_Row] = []
    for entry in found:
        if isinstance(entry, Gap):
            rows.append(_Row([""]))
        elif isinstance(entry, Comment):
            rows.append(_Row([indent + entry.text]))
        else:
            rows.append(_line(entry, indent, pads.get(id(entry))))
    _align_comments(rows)
    printed: list[str] = []
    for row in rows:
        printed += row.lines
    return printed


def _apart(found: Iterable[Entry], indent: str) -> Iterator[Entry]:
    """A line whose statements do not fit on one row as a line for each, so that they are aligned as they will be
    read."""
    for entry in found:
        if not isinstance(entry, Line) or len(entry.statements) == 1 or _row(entry, indent) is not None:
            yield entry
            continue
        *others, last = entry.statements
        yield from (Line([one]) for one in others)
        yield Line([last], entry.comment)


def _row(line: Line, indent: str) -> str | None:
    """A source line as one row, where it is short and plain."""
    flat = [_flat(statement) for statement in line.statements]
    joined = indent + "; ".join(one for one in flat if one is not None)
    return joined if None not in flat and len(joined) <= _WIDTH else None


def _line(line: Line, indent: str, pad: tuple[int, int] | None) -> _Row:
    """A source line: on one row, or its only statement on several."""
    joined = _row(line, indent)
    if joined is None:
        return _Row(_statement(line.statements[0], indent), line.comment)
    return _Row([joined if pad is None else indent + _padded(line.statements[0], *pad)], line.comment)


def _flat(statement: Statement) -> str | None:
    """A statement on one line; None when a block of it has lines or a comment stands inside."""
    words: list[str] = []
    for index, piece in enumerate(statement.pieces):
        if piece.kind == "COMMENT":
            return None
        words.append(_space(statement.pieces, index) + piece.text)
    if statement.block is None:
        return "".join(words)
    inside = _flat_block(statement.block)
    return None if inside is None else f"{''.join(words)} {inside}"


def _flat_block(block: Block) -> str | None:
    """A block on one line; None when its author gave it lines."""
    if not block.inline:
        return None
    inner: list[str] = []
    for entry in block.entries:
        for one in entry.statements if isinstance(entry, Line) else ():
            said = _flat(one)
            if said is None:
                return None
            inner.append(said)
    return f"{{ {'; '.join(inner)} }}" if inner else "{ }"


def _space(pieces: Sequence[Piece], index: int) -> str:
    """What stands between a piece and the one before it."""
    if index == 0:
        return ""
    before, this = pieces[index - 1], pieces[index]
    if before.kind in ("(", "[") or this.kind in (")", "]", ","):
        return ""
    glued = this.glued and before.kind == "NUMBER" and this.kind == "NAME" and this.text not in UNITS
    return "" if glued else " "


def _statement(statement: Statement, indent: str) -> list[str]:
    """A statement over as many lines as it needs."""
    flat = _flat(statement)
    if flat is not None and len(indent + flat) <= _WIDTH:
        return [indent + flat]
    lines = _filled(statement.pieces, indent, room=2 if statement.block else 0)
    if statement.block is None:
        return lines
    inside = _flat_block(statement.block)
    if inside is not None and len(lines) > 1 and len(f"{lines[-1]} {inside}") <= _WIDTH:
        return [*lines[:-1], f"{lines[-1]} {inside}"]
    lines[-1] += " {" + (f"  {statement.block.comment}" if statement.block.comment else "")
    return [*lines, *_block(_spread(statement.block), indent + _STEP), indent + "}"]


def _spread(block: Block) -> list[Entry]:
    """The entries of a block that gets lines: a line per statement where its author had it on one line."""
    if not block.inline:
        return block.entries
    return [Line([one]) for entry in block.entries if isinstance(entry, Line) for one in entry.statements]


def _filled(pieces: Sequence[Piece], indent: str, room: int) -> list[str]:
    """Pieces on lines of at most 120 columns where a break is allowed: after `,` `and` `or`, and after comments."""
    lines = [indent]
    start = True
    for index, chunk in _chunks(pieces):
        text = "".join((_space(pieces, index + i) if i else "") + piece.text for i, piece in enumerate(chunk))
        lead = "" if start else _space(pieces, index)
        fresh = index > 0 and (pieces[index - 1].kind == "COMMENT" or chunk[0].own_line)
        if fresh or (not start and len(lines[-1] + lead + text) + room > _WIDTH):
            lines.append(indent + _CONTINUED + text)
        else:
            lines[-1] += ("  " if chunk[0].kind == "COMMENT" and not start else lead) + text
        start = False
    return lines


def _chunks(pieces: Sequence[Piece]) -> list[tuple[int, Sequence[Piece]]]:
    """Runs of pieces that stay together, each with its first index."""
    found: list[tuple[int, Sequence[Piece]]] = []
    begin = 0
    for index, piece in enumerate(pieces):
        last = index + 1 == len(pieces)
        if last or piece.joins or piece.kind == "COMMENT" or pieces[index + 1].kind == "COMMENT":
            found.append((begin, pieces[begin : index + 1]))
            begin = index + 1
    return found


def _pads(found: Sequence[Entry], indent: str) -> dict[int, tuple[int, int]]:
    """For each line to align, by identity: how many pieces its head has, and how wide the head shall be."""
    pads: dict[int, tuple[int, int]] = {}
    lines = [entry for entry in found if isinstance(entry, Line)]
    heads = [_setting_head(line) for line in lines]
    if len(lines) > 1 and all(head is not None for head in heads):
        _pad(lines, 1, indent, pads)
        return pads
    run: list[Line] = []
    for entry in (*found, Gap()):
        if isinstance(entry, Line) and _named(entry) and (not run or _word(run[0]) == _word(entry)):
            run.append(entry)
            continue
        if len(run) > 1:
            _pad(run, 2, indent, pads)
        run = [entry] if isinstance(entry, Line) and _named(entry) else []
    return pads


def _pad(lines: Sequence[Line], count: int, indent: str, pads: dict[int, tuple[int, int]]) -> None:
    """Align the lines after their first `count` pieces, unless one gets too long by that."""
    longer = [line for line in lines if len(line.statements[0].pieces) > count]
    width = max((len(_head(line.statements[0], count)) for line in lines), default=0)
    flats = [indent + _padded(line.statements[0], count, width) for line in longer]
    if all(len(flat) <= _WIDTH for flat in flats):
        pads.update((id(line), (count, width)) for line in longer)


def _head(statement: Statement, count: int) -> str:
    return " ".join(piece.text for piece in statement.pieces[:count])


def _padded(statement: Statement, count: int, width: int) -> str:
    flat, head = _flat(statement) or "", _head(statement, count)
    return head.ljust(width) + flat[len(head) :]


def _setting_head(line: Line) -> str | None:
    """The word of a line that is one plain setting."""
    if len(line.statements) != 1 or line.statements[0].block is not None or _flat(line.statements[0]) is None:
        return None
    word = line.statements[0].pieces[0].text
    return None if word in grammar().keywords else word


def _named(line: Line) -> bool:
    """Whether the line is a lone `data`, `param` or `select` statement that fits on one row."""
    if len(line.statements) != 1 or _word(line) not in _ALIGNED or len(line.statements[0].pieces) < 3:
        return False
    flat = _flat(line.statements[0])
    return flat is not None and len(flat) <= _WIDTH


def _word(line: Line) -> str:
    return line.statements[0].pieces[0].text


def _align_comments(rows: Sequence[_Row]) -> None:
    """Put comments at line ends, two spaces away, in one column where neighbouring lines have them."""
    run: list[_Row] = []
    for row in (*rows, _Row([""])):
        if row.comment and len(row.lines) == 1:
            run.append(row)
            continue
        column = max((len(r.lines[-1]) for r in run), default=0)
        for r in run:
            r.lines[-1] = f"{r.lines[-1].ljust(column)}  {r.comment}"
        run = []
        if row.comment:
            row.lines[-1] += f"  {row.comment}"
