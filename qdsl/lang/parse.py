"""Text -> syntax tree, with every syntax error reported at once.

The parser is lark's LALR(1) table, fed token by token. The lexing is ours, so that words are keywords only where the
table can take them, and so that a faulty statement can be left out and the rest of the file still read.
"""

from __future__ import annotations

import gc
from copy import copy
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from lark import Lark, Token, UnexpectedToken
from lark.lexer import Lexer

from qdsl import grammars
from qdsl.diag import Diagnostic, nearest
from qdsl.lang import syntax
from qdsl.lang.build import build
from qdsl.lang.examples import STATEMENTS
from qdsl.lang.expect import expected
from qdsl.lang.foreign import cure, cures_for
from qdsl.lang.tokens import MOST_TOKENS, Faults, Placed, Tok, balance, layout, scan, scanner
from qdsl.lang.vocabulary import NESTED, rows
from qdsl.spec import UNITS

_RESERVED = ("and", "or", "not")
_MOST_WORK = 50_000  # tokens fed again after errors, in all: what a hostile file may cost


class _Unused(Lexer):
    """Lark wants a lexer; tokens are fed by hand."""

    def __init__(self, conf: Any) -> None:
        self.conf = conf

    def lex(self, lexer_state: Any, parser_state: Any) -> Any:
        return iter(())


@dataclass(frozen=True, slots=True)
class Grammar:
    """The parse table and what the lexer needs of it. `keywords` maps a word to its terminal."""

    lark: Any
    pattern: Any
    keywords: dict[str, str]
    words: dict[str, str]
    statements: frozenset[str]


@cache
def grammar() -> Grammar:
    """The grammar, its table built once per process (lark's own cache on disk is a pickle, so never that)."""
    text = (Path(str(grammars.__file__)).parent / "recipe.lark").read_text(encoding="utf-8")
    collecting = gc.isenabled()
    gc.disable()  # building the table makes many objects and no garbage: a tenth of its time
    try:
        lark: Any = Lark(text, parser="lalr", lexer=_Unused, propagate_positions=True)
    finally:
        if collecting:
            gc.enable()
    words = {t.name: t.pattern.value for t in lark.terminals if type(t.pattern).__name__ == "PatternStr"}
    regexps = {t.name: t.pattern.to_regexp() for t in lark.terminals}
    keywords = {word: name for name, word in words.items() if word.isidentifier()}
    start = lark.parse_interactive(None).choices()
    return Grammar(lark, scanner(regexps), keywords, words, frozenset(words[name] for name in start if name in words))


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file's tree and what is wrong with it. Statements with syntax errors are missing from the tree."""

    tree: syntax.File
    diagnostics: tuple[Diagnostic, ...]


def tokenize(text: str, faults: Faults) -> tuple[list[Tok], list[Tok]]:
    """All tokens of a text: (with comments and every newline, without comments and repeated newlines).

    A text with too many is an error and has none: time is bounded, too.
    """
    full = list(islice(scan(text, grammar().pattern, faults), MOST_TOKENS + 1))
    if len(full) > MOST_TOKENS:
        headline = f"`{faults.file}` is too large for a recipe"
        faults.add("file-too-large", headline, full[-1], f"more than {MOST_TOKENS} words, signs and lines")
        return [], []
    bare: list[Tok] = []
    for tok in full:
        if tok.kind == "COMMENT" or (tok.kind == "NEWLINE" and bare and bare[-1].kind == "NEWLINE"):
            continue
        bare.append(tok)
    return full, bare


def parse(text: str, file: str) -> Parsed:
    """Parse a recipe. `file` names it in spans. Never raises on any text."""
    faults = Faults(file, [])
    _, bare = tokenize(text, faults)
    placed = layout(balance(bare, grammar().statements, faults), faults)
    statements = _Feeder(placed, faults).statements()
    whole = syntax.File(_whole(placed, file), tuple(statements))
    return Parsed(whole, faults.all())


def _whole(placed: list[Placed], file: str) -> Any:
    first = placed[0].tok if placed else Tok("END", "", 1, 1)
    last = placed[-1].tok if placed else first
    return first.span(file).to(last.span(file))


class _Feeder:
    """Feeds each statement to a fresh parser; leaves out the innermost statement that fails and tries again."""

    def __init__(self, placed: list[Placed], faults: Faults) -> None:
        self.placed = placed
        self.faults = faults
        self.work = _MOST_WORK
        self.grammar = grammar()

    def statements(self) -> list[syntax.Statement]:
        found: list[syntax.Statement] = []
        begin = 0
        for index, this in enumerate(self.placed):
            if this.depth == 0 and this.tok.kind == "END":
                found += self._statement(self.placed[begin : index + 1])
                begin = index + 1
        return found

    def _statement(self, chunk: list[Placed]) -> list[syntax.Statement]:
        while chunk:
            tree, chunk = self._try(chunk)
            if tree is not None:
                return [build(child, self.faults) for child in tree.children]
            self.work -= len(chunk)
            if self.work < 0:
                return []
        return []

    def _try(self, chunk: list[Placed]) -> tuple[Any, list[Placed]]:
        """The statement's tree; or None and the tokens without the inner statement that is at fault."""
        machine = self.grammar.lark.parse_interactive(None)
        starts: list[tuple[int, int]] = [(0, 0)]  # (depth, index) of the statements we are inside of
        for index, this in enumerate(chunk):
            before = chunk[index - 1] if index else None
            if before is not None and before.tok.kind in ("END", "{"):
                closing = this.tok.kind == "}"
                starts = [s for s in starts if s[0] < this.depth + closing]
                starts += [] if closing else [(this.depth, index)]
            begin = starts[-1][1]
            if this.spoilt:
                return None, _without(chunk, begin)
            block = chunk[starts[-2][1]].tok.text if len(starts) > 1 else "recipe"
            opening = block if index == begin else None
            token = self._token(machine, this.tok, before.tok if before else None, opening)
            if token is None:
                return None, _without(chunk, begin)
            try:
                machine.feed_token(token)
            except UnexpectedToken:
                self._report(machine, chunk, index, begin, block)
                return None, _without(chunk, begin)
        return machine.feed_eof(), chunk

    def _token(self, machine: Any, tok: Tok, before: Tok | None, block: str | None) -> Token | None:
        """The token for the parser; None when the statement's first word is unknown and nothing is near. `block` is
        what a statement stands in whose first word this is."""
        choices = machine.choices()
        kind = self._kind(machine, tok, before)
        if block is not None and kind == "NAME" and "NAME" not in choices:
            mended = self._mended(choices, tok, block)
            if mended is None:
                return None
            kind = mended
        return Token(kind, tok.text, 0, tok.line, tok.column, tok.line, tok.end, 0)

    def _kind(self, machine: Any, tok: Tok, before: Tok | None) -> str:
        if tok.kind == "END":
            return "_END"
        if tok.kind not in ("NAME", "%"):
            return _PUNCTUATION.get(tok.kind, tok.kind)
        choices = machine.choices()
        keyword = self.grammar.keywords.get(tok.text)
        if keyword is not None and (tok.text in _RESERVED or _takes(machine, choices, keyword)):
            return keyword
        if before is not None and before.kind == "NUMBER" and "UNIT" in choices:
            glued = before.line == tok.line and before.end == tok.column
            if tok.text in UNITS or glued or (keyword is None and not _fits(machine, "NAME")):
                return "UNIT"
        return "NAME" if tok.kind == "NAME" else "UNIT"

    def _mended(self, choices: Any, tok: Tok, block: str) -> str | None:
        """Report an unknown statement; read it as the nearest known one, so that its inside is checked, too, unless it
        is a word of another place or tool, whose inside says something else."""
        if self.faults.only_counted():
            return None
        known = [word for word, name in self.grammar.keywords.items() if name in choices]
        near = nearest(tok.text, known)
        cures = cures_for(block, tok.text[:60], known)
        self.faults.add("unknown-statement", f"unknown statement `{tok.text[:60]}`", tok, "", tuple(cures))
        return self.grammar.keywords[near[0]] if near and cures[0].startswith("did you mean") else None

    def _report(self, machine: Any, chunk: list[Placed], index: int, begin: int, block: str) -> None:
        if self.faults.only_counted():
            return
        tok, before = chunk[index].tok, chunk[index - 1].tok if index else None
        accepted = machine.accepts()
        what = expected(accepted, self.grammar.words)
        head = chunk[begin].tok
        if before is not None and before.text == "expect":
            self.faults.add(
                "bad-expect", "`expect` takes a whole number", tok, "expected a number", ("such as `expect 24`",)
            )
        elif tok.kind == "END":
            at = tok._replace(text=" ")
            headline = f"this `{head.text[:60]}` is not finished"
            cures = _form(head.text)
            self.faults.add("unfinished-statement", headline, at, f"expected {what}", cures)
        elif accepted == {"_END"} and tok.kind == "NAME":
            label = "the statement is complete before this word"
            belongs = (
                ("`expect` belongs to the selector: `keep X expect 3 in float32`",) if tok.text == "expect" else ()
            )
            self.faults.add("two-statements", "two statements on one line need `;`", tok, label, belongs)
        else:
            cures = self._cures(head, accepted, tok, before, block)
            self.faults.add("unexpected", f"unexpected `{_short(tok)}`", tok, f"expected {what}", cures)

    def _cures(self, head: Tok, accepted: set[str], tok: Tok, before: Tok | None, block: str) -> tuple[str, ...]:
        """Where a block takes settings, a misspelt statement reads as a setting until it goes wrong."""
        if tok.kind == "NUMBER" and tok.text.startswith("-") and before is not None and before.end == tok.column:
            return (f"names hold letters, digits and `_`: `{before.text}_{tok.text[1:]}`",)
        if head.text in self.grammar.keywords:
            return ("a statement that takes no block ends here",) if accepted == {"_END"} else _form(head.text)
        known = (*rows(block), *NESTED.get(block, ()))
        if head.text not in known and (foreign := cure(block, head.text)):
            return (foreign,)
        if tok.kind == "=":
            return (f"a word and its value stand side by side: `{head.text} VALUE`",)
        near = nearest(head.text, [w for w in self.grammar.keywords if len(w) > 3])
        misspelt = head.text not in known and near
        return (f"`{head.text}` is no statement; did you mean `{near[0]}`?",) if misspelt else ()


def _form(statement: str) -> tuple[str, ...]:
    """How a statement is written, as a cure for one that is not."""
    return (f"such as `{STATEMENTS[statement].example}`",) if statement in STATEMENTS else ()


def _takes(machine: Any, choices: Any, keyword: str) -> bool:
    """Whether a keyword fits here."""
    return keyword in choices and ("NAME" not in choices or _fits(machine, keyword))


def _fits(machine: Any, terminal: str) -> bool:
    """Whether the parser really takes a terminal: LALR(1) merges look-ahead sets, so its choices may be too many."""
    trial = machine.copy(deepcopy_values=False)
    trial.parser_state.parse_conf = copy(trial.parser_state.parse_conf)
    trial.parser_state.parse_conf.callbacks = {}  # no trees: they would be shared with the machine
    try:
        trial.feed_token(Token(terminal, ""))
    except UnexpectedToken:
        return False
    return True


_PUNCTUATION = {
    "{": "LBRACE",
    "}": "RBRACE",
    "[": "LSQB",
    "]": "RSQB",
    "(": "LPAR",
    ")": "RPAR",
    ",": "COMMA",
    ";": "_END",
    "=": "EQUAL",
}


def _short(tok: Tok) -> str:
    return tok.text if len(tok.text) <= 40 else tok.text[:37] + "..."


def _without(chunk: list[Placed], begin: int) -> list[Placed]:
    """The tokens without the statement that starts at `begin`, its end included."""
    depth = chunk[begin].depth
    for index in range(begin, len(chunk)):
        if chunk[index].tok.kind == "END" and chunk[index].depth == depth:
            return chunk[:begin] + chunk[index + 1 :]
    return []
