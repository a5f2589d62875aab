"""Reading a report as a browser would, with html.parser: what does not close or nest is an error."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

VOID = {"br", "col", "hr", "img", "input", "meta"}
Attributes = dict[str, str]


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and what is wrong with it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, Attributes]] = []
        self.texts: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is never closed" for name in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(set(names)) != len(names):
            self.wrong.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.wrong.append(f"</{tag}> closes {self._open[-1:]}, line {self.getpos()[0]}")
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def all(self, tag: str, **attributes: str) -> list[Attributes]:
        """The attributes of every element of a kind that has these among them."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    @property
    def shown(self) -> str:
        """The text that is to be read, without script and style."""
        return " ".join(data for tag, data in self.texts if tag not in ("script", "style"))


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))
