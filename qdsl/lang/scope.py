"""What resolving needs everywhere: where errors go, what `$x` means, which names exist."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePath

from qdsl.diag import Diagnostics, Span, nearest
from qdsl.lang import syntax
from qdsl.lang.expect import told
from qdsl.lang.foreign import cure_within, cures_for

MOST_ERRORS = 200


@dataclass(slots=True)
class Scope:
    """One recipe being resolved. `directories` maps each file, as spans name it, to the directory its paths start
    from; `main` is the file asked for, all others are bases."""

    main: str
    diags: Diagnostics
    directories: dict[str, str]
    params: dict[str, syntax.Value] = field(default_factory=dict)
    data: frozenset[str] = frozenset()
    in_target: bool = False

    def error(self, code: str, headline: str, span: Span | None, label: str = "", help: Iterable[str] = ()) -> None:
        """Report an error; of hundreds the first are told and the others counted."""
        if not self._only_counted():
            self.diags.error(code, headline, span, label=label, help=help)

    def _only_counted(self) -> bool:
        full = len(self.diags) >= MOST_ERRORS
        self.diags.more += full
        return full

    def unknown(
        self,
        what: str,
        name: str,
        span: Span | None,
        known: Iterable[str],
        label: str = "",
        own: Iterable[str] = (),
    ) -> None:
        """An unknown name, with what it is called here, else the nearest known ones or, when nothing is near, all.
        `own` are names that the recipe itself gave: one of them that is near is meant."""
        if self._only_counted():
            return
        pool = sorted(set(known))
        foreign = "" if nearest(name, own) else cure_within(what, name)
        near = () if foreign else nearest(name, pool)
        cures = [foreign] if foreign else [f"did you mean {told([f'`{n}`' for n in near], 'or')}?"] if near else []
        if not pool:
            cures = ["this recipe defines none"]
        elif not cures:
            cures = [f"known: {told([f'`{n}`' for n in pool], 'and')}"]
        self._unknown(what, name, span, label, cures)

    def unknown_setting(self, block: str, word: syntax.Word, known: Iterable[str]) -> None:
        """A word that a block does not know: what it is called here, and every word of the block."""
        if not self._only_counted():
            self._unknown("setting", word.name, word.span, "", cures_for(block, word.name, known))

    def _unknown(self, what: str, name: str, span: Span | None, label: str, cures: Iterable[str]) -> None:
        shown = name if len(name) <= 60 else name[:57] + "..."
        self.error(f"unknown-{what.replace(' ', '-')}", f"unknown {what} `{shown}`", span, label, cures)

    def one_of(self, what: str, word: syntax.Word, known: Iterable[str]) -> str | None:
        """The word's name when it is known; None, with an error, when not."""
        pool = tuple(known)
        if word.name in pool:
            return word.name
        self.unknown(what, word.name, word.span, pool)
        return None

    def value(self, value: syntax.Value) -> syntax.Value | None:
        """The value with `$x` replaced, itself at the place of use; None, with an error, where one in it is unknown."""
        if isinstance(value, syntax.ListOf):
            items = [self.value(item) for item in value.items]
            held = tuple(item for item in items if item is not None)
            return syntax.ListOf(value.span, held) if len(held) == len(items) else None
        if not isinstance(value, syntax.UseParam):
            return value
        found = self._param(value)
        if isinstance(found, syntax.Several):
            headline = f"`${value.name[:60]}` stands for several values, and one belongs here"
            self.error("setting-value", headline, value.span, f"it is `{shown(found)[:60]}`")
            return None
        return found

    def values(self, group: Iterable[syntax.Value]) -> list[syntax.Value] | None:
        """The values of a setting, each `$x` replaced by all that it stands for; None, with an error, when one has
        none."""
        found: list[syntax.Value | None] = []
        for value in group:
            said = self._param(value) if isinstance(value, syntax.UseParam) else self.value(value)
            found += [moved(item, value.span) for item in said.items] if isinstance(said, syntax.Several) else [said]
        return None if None in found else [value for value in found if value is not None]

    def _param(self, value: syntax.UseParam) -> syntax.Value | None:
        if value.name not in self.params:
            self.unknown("param", value.name, value.span, self.params)
            return None
        return moved(self.params[value.name], value.span)

    def level(self, span: Span) -> str:
        """The layer of the cascade that a piece of text belongs to."""
        if self.in_target:
            return "target"
        return "recipe" if span.file == self.main else "extends"

    def path(self, text: str, span: Span) -> str:
        """A path as written, resolved against the file that wrote it."""
        return str(PurePath(self.directories.get(span.file, ".")) / text)


def moved(value: syntax.Value, span: Span) -> syntax.Value:
    """The same value at another place."""
    return type(value)(span, *(value.__dict__[name] for name in value._fields))


def shown(value: syntax.Value) -> str:
    """A value as a recipe writes it."""
    if isinstance(value, syntax.Word):
        return value.name
    if isinstance(value, syntax.Text):
        return quoted(value.value)
    if isinstance(value, syntax.Number):
        return f"{value.value} {value.unit}" if value.unit else str(value.value)
    if isinstance(value, syntax.Fraction):
        return f"{value.above}/{value.below}"
    if isinstance(value, syntax.UseParam):
        return f"${value.name}"
    if isinstance(value, syntax.Several):
        return " ".join(shown(item) for item in value.items)
    return f"[{', '.join(shown(item) for item in value.items)}]"


def quoted(text: str) -> str:
    """A text in quotes, escaped."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'
