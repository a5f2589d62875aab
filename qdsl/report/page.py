"""The page: one file that needs no network, no server and no library, and runs no script but its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qdsl.report import compare, sections
from qdsl.report.data import Build, Method, methods
from qdsl.report.html import NOTHING, Html, tag
from qdsl.report.shell import asset, document, theme_switch
from qdsl.report.tables import chip
from qdsl.version import __version__

# Classes whose number says how much: of a track, of a colour, tenths of a pixel. The page has rules for those it uses,
# and no `style` attribute, which its policy would refuse.
_SCALED = {
    "w": lambda number: f".w{number} {{ width: {number}%; }}",
    "p": lambda number: f".p{number} {{ --part: {number / 100:.2f}; }}",
    "z": lambda number: f"svg .z{number} {{ font-size: {number / 10:.1f}px; }}",
}
_VERDICTS = {"holds": "every budget holds", "broken": "a budget is broken", "undecided": "a budget is undecided"}


def page(builds: Sequence[Build]) -> str:
    """The page about one build, or about several side by side: the same text for the same builds."""
    found = methods(builds)
    one = len(builds) == 1
    parts = sections.sections(builds[0], found) if one else compare.sections(builds, found)
    title = builds[0].found.recipe if one else f"{len(builds)} builds side by side"
    links = (tag("a", name, href=f"#{mark}") for mark, name, _ in parts)
    inside = [
        tag("a", "To the content", href="#content", class_="skip"),
        _header(builds, found, title),
        tag("nav", *links, aria_label="Parts of the page"),
        tag("main", *(sections.section(*part) for part in parts), id="content"),
        tag("footer", tag("p", f"Made by qdsl {__version__} from measurements.json. It loads nothing from anywhere.")),
    ]
    return document(title, inside, asset("page.css") + _rules("".join(inside)), asset("page.js"))


def _rules(body: str) -> str:
    """A rule for each scaled class that the page uses."""
    used = {word for names in re.findall(r'class="([^"]*)"', body) for word in names.split()}
    scaled = sorted(found[0] for word in used if (found := re.fullmatch(r"([wpz])(\d{1,5})", word)))
    return "".join(f"{_SCALED[word[0]](int(word[1:]))}\n" for word in scaled)


def _header(builds: Sequence[Build], found: Sequence[Method], title: str) -> Html:
    """What the page is about, whether its budgets hold, and the switch between light and dark."""
    names = dict.fromkeys(build.found.model.name for build in builds)
    kinds = dict.fromkeys(f"{method.facts.mode} on {method.facts.target}" for method in found)
    word = sections.verdict(found)
    about = tag("p", f"{', '.join(names)}: {', '.join(kinds)}", class_="about")
    verdict = tag("p", chip(word, _VERDICTS[word]), class_="verdict") if word else NOTHING
    return tag("header", tag("div", tag("h1", title), about), verdict, theme_switch())
