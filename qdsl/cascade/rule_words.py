"""Where a decision comes from: the words of a rule and its line, for people and for the emitted file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from qdsl.diag import Span
from qdsl.lang.recipe import Improve, KeepRule, LayersRule, Mode, PlaceRule, Recipe, Target, Tune
from qdsl.spec.plan import Origin

_LONGEST = 60


@dataclass(frozen=True)
class Origins:
    """Turns spans of one recipe into origins. Paths are relative to the recipe's directory: a plan names no machine."""

    recipe: Recipe

    def of_mode(self, mode: Mode, span: Span) -> Origin:
        return self._at(f"quantize {mode.kind}", span)

    def of_high_precision(self, target: Target) -> Origin:
        assert target.high_precision is not None
        return self._at(f"high_precision {target.high_precision}", target.place("high_precision"))

    def of_layers(self, rule: LayersRule, span: Span | None = None) -> Origin:
        if rule.level == "allocate":
            return self._at(self.words(rule.span), rule.span)
        return self._at(f"layers {self.words(rule.picks.span)}", span or rule.span)

    def of_keep(self, rule: KeepRule) -> Origin:
        if rule.level == "allocate":
            return self._at(self.words(rule.span), rule.span)
        return self._at(f"keep {self.words(rule.picks.span)}", rule.span)

    def of_place(self, rule: PlaceRule) -> Origin:
        verb = "share scale across" if rule.action == "share" else rule.action
        return self._at(f"{verb} {self.words(rule.where.span)}", rule.span)

    def of_tune(self, tune: Tune, alternative: str) -> Origin:
        return self._at(f"tune {tune.goal}: {alternative}", tune.span)

    def of_improve(self, improve: Improve, step: str) -> Origin:
        return self._at(f"improve {step}", improve.span)

    def span(self, origin: Origin) -> Span | None:
        """The whole line that an origin names; None for one that no line says."""
        file = next((file for file in self.recipe.sources if self._file(file) == origin.file), None)
        rows = self.recipe.sources[file].split("\n") if file is not None else []
        if file is None or not 0 < origin.line <= len(rows):
            return None
        row = rows[origin.line - 1].rstrip()
        return Span(file, origin.line, 1 + len(row) - len(row.lstrip()), origin.line, len(row) + 1)

    def words(self, span: Span) -> str:
        """The recipe's own words at `span` on one line, cut when long."""
        lines = self.recipe.sources.get(span.file, "").split("\n")[span.line - 1 : span.end_line]
        if not lines:
            return ""
        lines[-1] = lines[-1][: span.end_column - 1]
        lines[0] = lines[0][span.column - 1 :]
        text = " ".join(" ".join(lines).split())
        text = "".join(c if c.isprintable() else "?" for c in text)
        return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

    def _at(self, rule: str, span: Span) -> Origin:
        return Origin(rule.strip(), self._file(span.file), span.line)

    def place(self, span: Span) -> str:
        """`base.q:24`, as seen from the recipe's directory."""
        return f"{self._file(span.file)}:{span.line}"

    def relative(self, path: str) -> str:
        """A path as seen from the recipe's directory, which is the same on every machine."""
        home = os.path.dirname(self.recipe.path)  # noqa: PTH120
        return os.path.relpath(path, home or ".").replace(os.sep, "/")

    def _file(self, file: str) -> str:
        return file if file not in self.recipe.sources or file.startswith("<") else self.relative(file)


def table_row(capability: str, row: str) -> Origin:
    """The origin of what a target's table decides."""
    return Origin(f"{capability}.toml, row {row}")


def table_alternative(capability: str, name: str) -> Origin:
    """The origin of an alternative that the measured ranges decided."""
    return Origin(f"{capability}.toml, alternative {name}")


def table_default(capability: str) -> Origin:
    """The origin of what neither the recipe nor a row says: the table's defaults."""
    return Origin(f"{capability}.toml, defaults")
