"""What every page is made of, whatever stands on it: one document that loads nothing and runs only its own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from importlib.resources import files

from qdsl.report.html import Html, tag

_POLICY = (
    "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def document(title: str, inside: Iterable[Html], style: str, script: str) -> str:
    """A page in English. Only `style` and `script` act on it, by their hashes: no `style` attribute does."""
    body = tag("body", *inside, tag("script", Html(script)))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY.format(_digest(style), _digest(script))),
        tag("title", f"{title} - qdsl"),
        tag("style", Html(style)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def asset(name: str, package: str = "qdsl.report") -> str:
    """A file of a package, as it stands in a page."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def theme_switch() -> Html:
    """The button between light and dark; `page.js` works it."""
    return tag("button", "Light or dark", type="button", id="theme", aria_pressed="false")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
