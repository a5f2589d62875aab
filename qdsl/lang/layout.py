"""Tokens -> lines, statements and blocks as the author laid them out, comments and empty lines included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from qdsl.lang.tokens import Tok

_OPEN, _CLOSE = ("(", "["), (")", "]")


class Piece(NamedTuple):
    """A token inside a statement, or a comment that stands inside it. `glued`: no space before it in the source;
    `own_line`: a comment with nothing before it on its line."""

    kind: str
    text: str
    glued: bool
    own_line: bool

    @property
    def joins(self) -> bool:
        """Whether the statement goes on after a line end here."""
        return self.kind == "," or (self.kind == "NAME" and self.text in ("and", "or"))


@dataclass(slots=True)
class Block:
    """What stands in `{ }`. `inline`: on one line; `comment`: what follows the opening brace on its line."""

    entries: list[Entry]
    inline: bool
    comment: str = ""


@dataclass(slots=True)
class Statement:
    pieces: list[Piece]
    block: Block | None = None


@dataclass(slots=True)
class Line:
    """Statements joined by `;`, and the comment that ends the line."""

    statements: list[Statement] = field(default_factory=list)
    comment: str = ""


@dataclass(slots=True)
class Comment:
    """A comment on a line of its own."""

    text: str


@dataclass(slots=True)
class Gap:
    """One or more empty lines."""


Entry = Line | Comment | Gap


def entries(toks: Sequence[Tok]) -> list[Entry]:
    """The layout of a text without syntax errors."""
    return _Reader([tok for tok in toks if tok.kind != "SPACE"]).block()


class _Reader:
    def __init__(self, toks: Sequence[Tok]) -> None:
        self.toks = toks
        self.at = 0

    @property
    def kind(self) -> str:
        return self.toks[self.at].kind if self.at < len(self.toks) else "END"

    def block(self) -> list[Entry]:
        """Entries up to the closing brace or the end of the file, without empty lines at their ends."""
        found: list[Entry] = []
        line = Line()
        newlines = 1
        while self.kind not in ("}", "END"):
            kind, text = self.kind, self.toks[self.at].text
            if kind == "NEWLINE":
                newlines += 1
                line = Line()
                if newlines == 2 and found and not isinstance(found[-1], Gap):
                    found.append(Gap())
                self.at += 1
                continue
            if kind == "COMMENT" and not line.statements:
                found.append(Comment(text.rstrip()))
                self.at += 1
            elif kind == "COMMENT":
                line.comment = text.rstrip()
                self.at += 1
            elif kind == ";":
                self.at += 1
            else:
                found += [] if line.statements else [line]
                line.statements.append(self.statement())
            newlines = 0
        while found and isinstance(found[-1], Gap):
            found.pop()
        return found

    def statement(self) -> Statement:
        """One statement, continued lines included; its end is left to the caller."""
        statement = Statement([])
        depth, fresh = 0, False
        while self.kind not in ("}", "END"):
            tok = self.toks[self.at]
            goes_on = depth > 0 or self._joined(statement)
            if tok.kind in ("NEWLINE", "COMMENT", ";") and not goes_on:
                break
            if tok.kind == "NEWLINE":
                fresh = True
            elif tok.kind == "{":
                statement.block = self._braces()
                continue
            else:
                depth += (tok.kind in _OPEN) - (tok.kind in _CLOSE)
                self._add(statement, tok, fresh)
                fresh = False
            self.at += 1
        return statement

    def _joined(self, statement: Statement) -> bool:
        said = [piece for piece in statement.pieces[-8:] if piece.kind != "COMMENT"]
        said = said or [piece for piece in statement.pieces if piece.kind != "COMMENT"]
        return statement.block is None and bool(said) and said[-1].joins

    def _add(self, statement: Statement, tok: Tok, fresh: bool) -> None:
        before = self.toks[self.at - 1] if self.at else None
        glued = before is not None and before.line == tok.line and before.end == tok.column
        if tok.kind == "]":
            _drop_last_comma(statement.pieces)
        comment = tok.kind == "COMMENT"
        text = tok.text.rstrip() if comment else tok.text
        statement.pieces.append(Piece(tok.kind, text, glued, comment and fresh))

    def _braces(self) -> Block:
        """A block with its braces."""
        begin = self.at
        self.at += 1
        comment = ""
        if self.kind == "COMMENT":
            comment = self.toks[self.at].text.rstrip()
            self.at += 1
        found = self.block()
        inline = all(tok.kind != "NEWLINE" for tok in self.toks[begin : self.at])
        self.at += 1
        empty = not found and not comment
        return Block(found, inline or empty, comment)


def _drop_last_comma(pieces: list[Piece]) -> None:
    """`[a, b,]` is `[a, b]`."""
    for index in range(len(pieces) - 1, -1, -1):
        if pieces[index].kind != "COMMENT":
            if pieces[index].kind == ",":
                del pieces[index]
            return
