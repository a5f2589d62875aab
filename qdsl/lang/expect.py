"""What a parser could have taken, in words that a person understands."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

_VALUE = {"NAME", "STRING", "NUMBER", "FRACTION", "DOLLAR", "LSQB"}
_SELECTOR = {"OP", "UNDER", "TENSOR", "MATCHING", "BETWEEN", "LPAR"}
_SELECTING = _SELECTOR | {"NAME", "STRING", "LSQB", "NOT", "FIRST", "LAST", "DOLLAR"}
_PLAIN = {
    "NAME": "a name",
    "STRING": 'a text in "quotes"',
    "NUMBER": "a number",
    "DOLLAR": "a parameter",
    "FRACTION": "a fraction",
    "UNIT": "a unit",
    "CMP": "a comparison such as `<=`",
    "_END": "the end of the line",
}
_RANK = ("a selector", "a value", "a name", 'a text in "quotes"', "a number")


def expected(terminals: Collection[str], words: Mapping[str, str]) -> str:
    """`a name, `{` or the end of the line`. `words` maps a terminal of fixed text to that text."""
    left = set(terminals) - {"$END"}
    found = []
    if left >= _SELECTOR:
        found.append("a selector")
        left -= _SELECTING
    if left >= _VALUE:
        found.append("a value")
        left -= _VALUE
    if "NUMBER" in left:
        left -= {"DOLLAR"}
    found += [_PLAIN.get(name) or f"`{words.get(name, name.lower())}`" for name in left]
    ranked = sorted(found, key=lambda word: (_RANK.index(word) if word in _RANK else len(_RANK), word.strip("`")))
    return told(ranked, "or") if ranked else "nothing more"


def told(words: Sequence[str], last: str, most: int = 24) -> str:
    """`a, b or c`."""
    shown = list(words[:most])
    if len(words) > most:
        shown.append("others")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {last} {shown[-1]}"
