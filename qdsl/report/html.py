"""Markup that is safe by construction: whatever is not `Html` is escaped. Names come from untrusted files."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from qdsl.spec.words import plain

_VOID = frozenset({"br", "col", "hr", "img", "input", "meta"})


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


NOTHING = Html("")


def text(words: str) -> Html:
    """`words` as markup; characters that do not print, such as those that turn the direction of writing, as `?`."""
    return words if isinstance(words, Html) else Html(escape(plain(words)))


def join(parts: Iterable[str]) -> Html:
    """One after the other, without anything between them."""
    return Html("".join(text(part) for part in parts))


def tag(element: str, /, *inside: str, **attributes: str | float | None) -> Html:
    """An element. `class_` says `class`, `aria_label` says `aria-label`; an attribute that is None is left out."""
    spelled = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None)
    if element in _VOID:
        return Html(f"<{element}{spelled}>")
    return Html(f"<{element}{spelled}>{join(inside)}</{element}>")


def number(value: float) -> str:
    """A coordinate: at most two decimals, and no more than it needs."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def _attribute(name: str, value: str | float) -> str:
    spelled = name.rstrip("_").replace("_", "-")
    return f' {spelled}="{text(value if isinstance(value, str) else number(value))}"'
