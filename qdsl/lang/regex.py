"""Regular expressions in linear time: patterns come from untrusted recipes, and `re` can take exponential time.

This is the only judge of a pattern. The language is the common core of Python's `re`, and what is taken means what it
means there with `re.ASCII`: literals, `.`, classes, groups, `|`, `*` `+` `?` `{m,n}` (lazy forms mean the same here,
where only "is there a match" is asked), `^` `$`, and the escapes \\d \\w \\s \\D \\W \\S \\A \\Z. What needs
backtracking (back references, look-around, possessive repetition) and word boundaries are refused. Text is run through
the set of states of a Thompson automaton (Thompson 1968), whose steps are remembered: a character costs about one
lookup.
"""

from __future__ import annotations

from dataclasses import dataclass, field

_LONGEST = 1_000
_DEEPEST = 50
_MOST_STATES = 4_000
_MOST_STEPS = 20_000
_TOP = chr(0x10FFFF)
_CLASSES: dict[str, tuple[tuple[str, str], ...]] = {
    "d": (("0", "9"),),
    "w": (("0", "9"), ("A", "Z"), ("_", "_"), ("a", "z")),
    "s": ((" ", " "), ("\t", "\r")),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}


class RegexError(ValueError):
    """A pattern that is none; `at` is the offset of the culprit."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class UnsupportedError(RegexError):
    """A pattern of a larger language, or one too large."""


@dataclass(frozen=True, slots=True)
class _Chars:
    """One character inside (or, negated, outside) some ranges."""

    ranges: tuple[tuple[str, str], ...]
    negated: bool = False

    def has(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A place that eats nothing: `\\A` (and `^`), `\\Z`, or `$`, which is the end and before a newline there."""

    sign: str


@dataclass(frozen=True, slots=True)
class _Cat:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Alt:
    parts: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    part: _Node
    low: int
    high: int | None


_Node = _Chars | _Anchor | _Cat | _Alt | _Repeat
_State = tuple[frozenset[int], bool]


def require_usable(pattern: str) -> None:
    """Raises RegexError where a pattern cannot be used. Takes time in proportion to the text: nothing is unrolled."""
    _parsed(pattern)


def _parsed(pattern: str) -> _Node:
    node = _Parser(pattern).whole()
    if _size(node) > _MOST_STATES:
        raise UnsupportedError(f"the pattern unrolls to more than {_MOST_STATES} states", 0)
    return node


class Regex:
    """A compiled pattern; `search` says whether a text contains a match. Raises RegexError on a bad pattern."""

    def __init__(self, pattern: str) -> None:
        node = _parsed(pattern)
        self._program = _Program()
        self._program.emit(node)
        self._steps: dict[tuple[frozenset[int], str], _State] = {}
        self._first = self._program.closure((0,), "A")
        self._again = self._program.closure((0,), "")

    def search(self, text: str) -> bool:
        """Whether a match begins anywhere in `text`."""
        states, matched = self._first
        for at, char in enumerate(text):
            if char == "\n" and at == len(text) - 1:
                states, ends = self._program.closure((*states, 0), "A$" if at == 0 else "$")
                matched = matched or ends
            if matched:
                return True
            states, matched = self._step(states, char)
        return matched or self._program.closure((*states, 0), "Z$" if text else "AZ$")[1]

    def _step(self, states: frozenset[int], char: str) -> _State:
        key = (states, char)
        found = self._steps.get(key)
        if found is None:
            if len(self._steps) >= _MOST_STEPS:
                self._steps.clear()
            found = self._steps[key] = self._program.step(states, char, self._again)
        return found


@dataclass(slots=True)
class _Program:
    """The automaton. State n either eats a character of `eats[n]`, or checks `anchors[n]`; then it goes on to
    `goes[n]`. The state after the last is the match."""

    eats: list[_Chars | None] = field(default_factory=list)
    anchors: list[_Anchor | None] = field(default_factory=list)
    goes: list[tuple[int, ...]] = field(default_factory=list)

    def emit(self, node: _Node) -> None:
        match node:
            case _Chars():
                self._add(node, None)
            case _Anchor():
                self._add(None, node)
            case _Cat():
                for part in node.parts:
                    self.emit(part)
            case _Alt():
                self._emit_either(node.parts)
            case _Repeat():
                self._emit_repeat(node)

    def _add(self, eats: _Chars | None, anchor: _Anchor | None) -> int:
        self.eats.append(eats)
        self.anchors.append(anchor)
        self.goes.append((len(self.goes) + 1,))
        return len(self.goes) - 1

    def _emit_either(self, parts: tuple[_Node, ...]) -> None:
        fork = self._add(None, None)
        starts, ends = [], []
        for part in parts:
            starts.append(len(self.goes))
            self.emit(part)
            ends.append(self._add(None, None))
        self.goes[fork] = tuple(starts)
        for end in ends:
            self.goes[end] = (len(self.goes),)

    def _emit_repeat(self, node: _Repeat) -> None:
        for _ in range(node.low):
            self.emit(node.part)
        if node.high is None:
            fork = self._add(None, None)
            self.emit(node.part)
            self.goes[self._add(None, None)] = (fork,)
            self.goes[fork] = (fork + 1, len(self.goes))
            return
        forks = []
        for _ in range(node.high - node.low):
            forks.append(self._add(None, None))
            self.emit(node.part)
        for fork in forks:
            self.goes[fork] = (fork + 1, len(self.goes))

    def step(self, states: frozenset[int], char: str, again: _State) -> _State:
        eaten = sorted(self.goes[n][0] for n in states if (chars := self.eats[n]) and chars.has(char))
        found, matched = self.closure(tuple(eaten), "")
        return found | again[0], matched or again[1]

    def closure(self, starts: tuple[int, ...], here: str) -> _State:
        """The states that wait for a character or for the end, and whether the match was reached. `here` are the signs
        of the anchors that hold."""
        kept, seen = set(), set(starts)
        waiting = list(seen)
        while waiting:
            n = waiting.pop()
            if n == len(self.goes):
                return frozenset(), True
            anchor = self.anchors[n]
            if self.eats[n] is not None or (anchor is not None and anchor.sign not in here):
                kept.add(n)
                continue
            waiting += [m for m in self.goes[n] if m not in seen]
            seen.update(self.goes[n])
        return frozenset(kept), False


def _size(node: _Node) -> int:
    match node:
        case _Chars() | _Anchor():
            return 1
        case _Cat():
            return sum(map(_size, node.parts))
        case _Alt():
            return 1 + sum(1 + _size(part) for part in node.parts)
        case _Repeat():
            copies = node.low + (1 if node.high is None else node.high - node.low)
            return max(copies, 1) * (_size(node.part) + 2)


class _Parser:
    def __init__(self, pattern: str) -> None:
        if len(pattern) > _LONGEST:
            raise UnsupportedError(f"the pattern is longer than {_LONGEST} characters", _LONGEST)
        self.text = pattern
        self.at = 0
        self.depth = 0

    def whole(self) -> _Node:
        node = self._either()
        if self.at < len(self.text):
            raise RegexError("`)` closes nothing", self.at)
        return node

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self, want: str) -> bool:
        if self.text.startswith(want, self.at):
            self.at += len(want)
            return True
        return False

    def _either(self) -> _Node:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else _Alt(tuple(parts))

    def _sequence(self) -> _Node:
        parts: list[_Node] = []
        while self._peek() not in {"", "|", ")"}:
            parts.append(self._repeated(self._atom()))
        return _Cat(tuple(parts))

    def _repeated(self, node: _Node) -> _Node:
        start = self.at
        bounds = self._bounds()
        if bounds is None:
            return node
        if isinstance(node, _Anchor):
            raise RegexError("an anchor cannot be repeated", start)
        lazy, again = self._take("?"), self.at
        if not lazy and self._peek() == "+":
            raise UnsupportedError("possessive repetition is not supported", again)
        if self._bounds() is not None:
            raise RegexError("two repetitions in a row; put the inner one in parentheses", again)
        return _Repeat(node, *bounds)

    def _bounds(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(sign):
                return bounds
        close = self.text.find("}", self.at)
        if self._peek() != "{" or close < 0:
            return None
        low, comma, high = self.text[self.at + 1 : close].partition(",")
        if not all(n.isascii() and n.isdigit() for n in (low, high) if n) or not (low or comma):
            return None
        least, most = int(low or 0), (int(high) if high else None) if comma else int(low)
        if most is not None and most < least:
            raise RegexError("the repetition's bounds are the wrong way round", self.at)
        self.at = close + 1
        return least, most

    def _atom(self) -> _Node:
        start = self.at
        if self._bounds() is not None:
            raise RegexError(f"`{self.text[start : self.at]}` repeats nothing", start)
        char = self._peek()
        self.at += 1
        if char == "(":
            return self._group(start)
        if char == "[":
            return self._set(start)
        if char == "\\":
            return self._escape(start)
        if char in {"^", "$"}:
            return _Anchor("A" if char == "^" else "$")
        return _Chars((("\n", "\n"),), True) if char == "." else _Chars(((char, char),))

    def _group(self, start: int) -> _Node:
        if self._peek() == "?" and not self._take("?:"):
            why = "only plain groups `( )` and `(?: )` are supported: no look-around, names or flags"
            raise UnsupportedError(why, start)
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnsupportedError(f"groups are nested deeper than {_DEEPEST}", start)
        node = self._either()
        self.depth -= 1
        if not self._take(")"):
            raise RegexError("`(` is never closed", start)
        return node

    def _escape(self, start: int) -> _Node:
        char = self._peek()
        self.at += 1
        if char in {"A", "Z"}:
            return _Anchor(char)
        if char.lower() in _CLASSES:
            return _Chars(_CLASSES[char.lower()], char.isupper())
        return _Chars(((_plain(char, start),) * 2,))

    def _set(self, start: int) -> _Node:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        while not (self._peek() == "]" and ranges):
            ranges += self._ranges(start)
        self.at += 1
        return _Chars(tuple(ranges), negated)

    def _ranges(self, start: int) -> tuple[tuple[str, str], ...]:
        """What one entry of a class stands for."""
        at, low = self.at, self._member(start)
        if self._peek() != "-" or self.text[self.at + 1 : self.at + 2] in {"]", ""}:
            return low if isinstance(low, tuple) else ((low, low),)
        self.at += 1
        high = self._member(start)
        if isinstance(low, tuple) or isinstance(high, tuple):
            raise RegexError("a range in `[ ]` goes from one character to another", at)
        if high < low:
            raise RegexError("a range in `[ ]` runs the wrong way", at)
        return ((low, high),)

    def _member(self, start: int) -> str | tuple[tuple[str, str], ...]:
        """One character of a class, or the ranges of an escape such as \\d."""
        char = self._peek()
        if not char:
            raise RegexError("`[` is never closed", start)
        self.at += 1
        if char != "\\":
            return char
        char = self._peek()
        self.at += 1
        if char and char in "dws":
            return _CLASSES[char]
        if char and char in "DWS":
            return _outside(_CLASSES[char.lower()])
        return _plain(char, self.at - 2)


def _plain(char: str, start: int) -> str:
    """The character that an escape stands for, when it is punctuation or a control character."""
    if char in _CONTROLS:
        return _CONTROLS[char]
    if not char:
        raise RegexError("a lone `\\` ends the pattern", start)
    if char.isalnum():
        raise UnsupportedError(f"the escape `\\{char}` is not supported", start)
    return char


def _outside(ranges: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """The complement of sorted ranges."""
    found, low = [], "\0"
    for first, last in ranges:
        if low < first:
            found.append((low, chr(ord(first) - 1)))
        low = chr(ord(last) + 1)
    return (*found, (low, _TOP))
