"""Text -> tokens -> statements: the lexer, the balance of brackets, and where statements end.

All three report what is wrong and go on. Tokens of a statement that has already been reported are marked spoilt, and
the parser passes over that statement in silence: one fault, one message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from qdsl.diag import Diagnostic, Span, and_more

MOST_ERRORS = 50
DEEPEST = 64
MOST_TOKENS = 50_000
_HOPELESS = 4 * DEEPEST  # brackets open at once: what follows is not looked at
_LONGEST_NUMBER = 64
_CLOSER = {"(": ")", "[": "]", "{": "}"}
_OPENER = {closer: opener for opener, closer in _CLOSER.items()}
_FRACTION = ("a fraction has plain numbers above and below: 1/255 or 1/127.5",)
_JOINING = (",", "and", "or")
_PLAIN = ("STRING", "COMMENT", "DOLLAR", "FRACTION", "NUMBER", "NAME", "ARROW", "CMP")


class Tok(NamedTuple):
    """One token; none spans two lines. Lines and columns count from 1. `kind` is a terminal of the grammar, a
    punctuation character, or NEWLINE, COMMENT, BAD, END."""

    kind: str
    text: str
    line: int
    column: int

    def span(self, file: str) -> Span:
        return Span(file, self.line, self.column, self.line, self.column + len(self.text))

    @property
    def end(self) -> int:
        return self.column + len(self.text)


class Placed(NamedTuple):
    """A token and how many brackets are open around it; `inside` is the innermost of them, "" for none."""

    tok: Tok
    depth: int
    inside: str
    spoilt: bool


@dataclass(slots=True)
class Faults:
    """Diagnostics of one file, the first of them; the others are counted as `more`."""

    file: str
    found: list[Diagnostic]
    more: int = 0

    def add(self, code: str, headline: str, tok: Tok, label: str = "", help: tuple[str, ...] = ()) -> None:
        if not self.only_counted():
            self.found.append(Diagnostic(code, headline, tok.span(self.file), label, help))

    def only_counted(self) -> bool:
        """Whether there are enough: then one more is counted, and nobody has to find out what to say of it."""
        full = len(self.found) >= MOST_ERRORS
        self.more += full
        return full

    def all(self) -> tuple[Diagnostic, ...]:
        """What was found; the last of them says how many more there are."""
        return and_more(self.found, self.more)


def scanner(terminals: Mapping[str, str]) -> re.Pattern[str]:
    """The lexer's regular expression, from the grammar's own terminals."""
    plain = "|".join(f"(?P<{name}>{terminals[name]})" for name in _PLAIN)
    return re.compile(rf"(?P<SPACE>[ \t]+)|(?P<NEWLINE>\r?\n)|{plain}|(?P<PUNCTUATION>[][(){{}},;=%])")


def scan(text: str, pattern: re.Pattern[str], faults: Faults) -> Iterator[Tok]:
    """Every token of a text, comments and newlines included."""
    position, line, start, size = 0, 1, 0, len(text)
    told = 0  # the last line with a bad piece: more of them on one line are one fault
    while position < size:
        found = pattern.match(text, position)
        if found is None:
            into = faults if told != line else Faults(faults.file, [])
            tok = _bad(text, position, line, position - start + 1, into)
            position, told = position + len(tok.text), line
            yield tok
            continue
        kind, position = str(found.lastgroup), found.end()
        if kind == "SPACE":
            continue
        piece = found.group()
        tok = Tok(piece if kind == "PUNCTUATION" else kind, piece, line, found.start() - start + 1)
        if kind == "NEWLINE":
            line, start = line + 1, position
        elif kind in ("NUMBER", "FRACTION") and not _fair(tok, faults):
            tok = tok._replace(kind="BAD")
        yield tok


def _fair(tok: Tok, faults: Faults) -> bool:
    """Whether a number can be held: neither endless, nor infinite, nor divided by zero."""
    if len(tok.text) > _LONGEST_NUMBER:
        faults.add("number-out-of-range", "this number is too long", tok, f"more than {_LONGEST_NUMBER} characters")
        return False
    if tok.kind == "FRACTION":
        below = float(tok.text.split("/")[1])
        if below == 0:
            faults.add("number-out-of-range", "a fraction cannot be divided by zero", tok)
        return below != 0
    if abs(float(tok.text)) == float("inf"):
        faults.add("number-out-of-range", "this number is too large", tok, "larger than 1.8e308")
        return False
    return True


# Each is matched where it stands: a copy of the rest of the line per piece would make a long line quadratic. No two of
# them look at the same characters more than once.
_LINE = re.compile(r"[^\n]*")
_NUMBERLIKE = re.compile(r"[-+]?\.*[0-9][\w.]*")
_JUNK = re.compile(r"[^\x00-\x7f]+|[^\w\s\"#$()\[\]{},;=<>]+|\$+(?![A-Za-z_])|.", re.DOTALL)
_WORD_WIDEST = 40
_WORD_BEFORE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WORD_AFTER = re.compile(r"(?:-[A-Za-z0-9_]+)+")
_SPLIT_FRACTION = re.compile(r"[0-9]/[-0-9.]")


def _bad(text: str, position: int, line: int, column: int, faults: Faults) -> Tok:
    """A piece of text that is no token, reported once."""

    def piece(pattern: re.Pattern[str]) -> str:
        found = pattern.match(text, position)
        return found.group() if found else ""

    if text[position] == '"':
        tok = Tok("BAD", piece(_LINE).rstrip("\r"), line, column)
        faults.add("unclosed-text", "this text has no closing quote", tok, 'a `"` is missing before the line end')
        return tok
    number = piece(_NUMBERLIKE)
    if number:
        tok = Tok("BAD", number, line, column)
        cures = ('a version is a text: "10.3"', "a number has digits on both sides of its point: 0.5")
        faults.add("bad-number", f"`{_shown(tok.text)}` is not a number", tok, "expected digits", cures)
        return tok
    tok = Tok("BAD", piece(_JUNK), line, column)
    split = _SPLIT_FRACTION.match(text, max(position - 1, 0), position + 2)
    cure = _FRACTION if split else (*_joined(text, position), *_cure(tok.text[0]))
    faults.add("bad-character", f"{_named(tok.text[0])} means nothing here", tok, "", cure)
    return tok


def _named(character: str) -> str:
    if character.isprintable() and character.isascii():
        return f"`{character}`"
    return f"the character U+{ord(character):04X}"


def _joined(text: str, position: int) -> tuple[str, ...]:
    """How a word with hyphens is written: `per-channel`."""
    before = _WORD_BEFORE.search(text[max(0, position - _WORD_WIDEST) : position])
    after = _WORD_AFTER.match(text, position, position + _WORD_WIDEST)
    if before is None or after is None:
        return ()
    return (f"a word has `_` where others have `-`: `{before.group()}{after.group().replace('-', '_')}`",)


def _cure(character: str) -> tuple[str, ...]:
    cures = {
        "'": ('texts stand in double quotes: "name"',),
        "$": ("a parameter is written $name",),
        "/": ("comments start with `#`; paths stand in double quotes",),
        "-": ("names hold letters, digits and `_`; anything else stands in double quotes",),
        ":": ("a word and its value stand side by side, without `:`",),
        "*": ("name patterns stand in double quotes",),
    }
    return cures.get(character, ())


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def balance(toks: list[Tok], keywords: frozenset[str], faults: Faults) -> list[Placed]:
    """Tokens (no comments, no two newlines in a row) with their depth.

    A bracket that is never closed is reported at its opener and closed where the text shows it should have been: before
    a keyword in the first column, or at a line end that joins nothing.
    """
    chosen = _Balance(toks, frozenset())
    chosen.run()
    if chosen.faults:
        chosen = _Balance(toks, keywords)
        chosen.run()
    for code, headline, tok, label, cures in chosen.faults:
        faults.add(code, headline, tok, label, cures)
    return chosen.placed


class _Balance:
    def __init__(self, toks: list[Tok], anchors: frozenset[str]) -> None:
        self.toks = toks
        self.anchors = anchors
        self.stack: list[tuple[Tok, int]] = []
        self.placed: list[Placed] = []
        self.faults: list[tuple[str, str, Tok, str, tuple[str, ...]]] = []
        self.chain = _Chain()
        self.deep = False

    def run(self) -> None:
        for index, tok in enumerate(self.toks):
            if len(self.stack) > _HOPELESS:
                break
            if self.anchors:
                self._close_lost(index, tok)
            if tok.kind in _CLOSER:
                self._open(tok)
            elif tok.kind in _OPENER:
                self._close(tok)
            else:
                inside = self.stack[-1][0].kind if self.stack else ""
                self._put(tok, self.chain.too_deep(tok, inside) and self._deep(tok))
        while self.stack:
            self._unclosed()

    def _put(self, tok: Tok, spoilt: bool = False) -> None:
        inside = self.stack[-1][0].kind if self.stack else ""
        self.placed.append(Placed(tok, len(self.stack), inside, spoilt or tok.kind == "BAD"))

    def _deep(self, tok: Tok) -> bool:
        if not self.deep:
            self.deep = True
            cures = ("give a part a name with `select` and use the name",)
            self.faults.append(
                ("nested-too-deep", f"nested more than {DEEPEST} levels deep", tok, "one level too many", cures)
            )
        return True

    def _open(self, tok: Tok) -> None:
        deep = len(self.stack) >= DEEPEST and self._deep(tok)
        self._put(tok, deep)
        self.stack.append((tok, len(self.placed) - 1))
        self.chain.open()

    def _close(self, tok: Tok) -> None:
        opener = _OPENER[tok.kind]
        wall = "" if opener == "{" else "{"
        kinds = [open_tok.kind for open_tok, _ in self.stack]
        floor = len(kinds) - 1 - kinds[::-1].index(wall) if wall in kinds else -1
        if opener not in kinds[floor + 1 :]:
            cures = () if tok.kind != "}" else ("remove it, or look for a block that was closed too early above",)
            self.faults.append(
                ("unbalanced", f"this `{tok.kind}` closes nothing", tok, f"no `{opener}` is open", cures)
            )
            return
        while self.stack[-1][0].kind != opener:
            self._unclosed()
        self.stack.pop()
        self.chain.close()
        self._put(tok)

    def _unclosed(self) -> None:
        """Report the innermost open bracket and close it here: a block so that its statements still count, anything
        else by spoiling the statement it stands in."""
        tok, index = self.stack.pop()
        self.chain.close()
        if not self.placed[index].spoilt and not self.deep:  # one message for all brackets of a nest
            label = f"no `{_CLOSER[tok.kind]}` closes it"
            self.faults.append(("unbalanced", f"this `{tok.kind}` is never closed", tok, label, ()))
        if tok.kind == "{":
            last = self.placed[-1].tok
            self._put(Tok("}", "", last.line, last.end))
            self._put(Tok("NEWLINE", "", last.line, last.end))
        else:
            self.placed[index] = self.placed[index]._replace(spoilt=True)

    def _close_lost(self, index: int, tok: Tok) -> None:
        before = self.toks[index - 1].kind if index else "NEWLINE"
        if tok.kind == "NAME" and tok.column == 1 and before == "NEWLINE" and tok.text in self.anchors:
            while self.stack:
                self._unclosed()
        if tok.kind != "NEWLINE":
            return
        if before in _CLOSER or self.toks[index - 1].text in _JOINING:
            return
        after = self.toks[index + 1] if index + 1 < len(self.toks) else tok
        if after.kind in (")", "]", ",") or after.text in _JOINING:
            return
        while self.stack and self.stack[-1][0].kind in "([":
            self._unclosed()


class _Chain:
    """Counts what nests without brackets: `not not ..` and `between .. and between ..`, per open bracket."""

    def __init__(self) -> None:
        self.levels = [0]
        self.held = [False]
        self.before = ""

    def open(self) -> None:
        self.levels.append(0)
        self.held.append(False)

    def close(self) -> None:
        self.levels.pop()
        self.held.pop()

    def too_deep(self, tok: Tok, inside: str) -> bool:
        ends = tok.kind in ("NEWLINE", ";") and inside not in ("(", "[") and self.before not in _JOINING
        if ends or tok.kind == "," or (tok.text in ("and", "or") and not self.held[-1]):
            self.levels[-1], self.held[-1] = 0, False
        elif tok.kind == "NAME" and tok.text in ("not", "between"):
            self.levels[-1] += 1
            self.held[-1] = self.held[-1] or tok.text == "between"
        self.before = tok.text
        return bool(self.levels[-1]) and sum(self.levels) + len(self.levels) > DEEPEST + 1


def layout(placed: list[Placed], faults: Faults) -> list[Placed]:
    """Statements out of lines: newlines that mean nothing go, every statement ends with one END."""
    kept: list[Placed] = []
    for index, this in enumerate(placed):
        kind = this.tok.kind
        if kind == "NEWLINE":
            if this.inside in ("(", "[") or _continues(kept) or _brace_follows(placed, index, kept, faults):
                continue
            _end(kept, this)
        elif kind == ";" and this.inside not in ("(", "["):
            _end(kept, this)
        elif kind == "}":
            _end(kept, this._replace(depth=this.depth + 1))
            kept.append(this)
        else:
            kept.append(this)
    if kept:
        last = kept[-1].tok
        _end(kept, Placed(Tok("NEWLINE", "", last.line, last.end), 0, "", False))
    return kept


def _continues(kept: list[Placed]) -> bool:
    return bool(kept) and (kept[-1].tok.text in _JOINING and kept[-1].tok.kind in ("NAME", ","))


def _end(kept: list[Placed], at: Placed) -> None:
    if kept and kept[-1].tok.kind not in ("END", "{"):
        kept.append(at._replace(tok=at.tok._replace(kind="END")))


def _brace_follows(placed: list[Placed], index: int, kept: list[Placed], faults: Faults) -> bool:
    """A `{` on a line of its own belongs to the line before: said once, then read as if it stood there."""
    if index + 1 >= len(placed) or placed[index + 1].tok.kind != "{" or not kept or kept[-1].tok.kind in ("END", "{"):
        return False
    brace = placed[index + 1].tok
    faults.add("brace-alone", "`{` stands on the line of its header", brace, "move it up to the end of the line above")
    return True
