"""The files that an audit can be written as: each is a module of this package with `render(report) -> str`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from qdsl.auditing.report import AuditReport


class Format(NamedTuple):
    """An option of `qdsl audit`: `--NAME FILE`, or `--NAME` alone where it goes to standard output. `module` is the
    module's name here."""

    module: str
    help: str
    to_file: bool = True


# By option. Listing loads nothing.
FORMATS: dict[str, Format] = {
    "sarif": Format("sarif", "SARIF 2.1.0, for code scanning"),
    "junit": Format("junit", "JUnit XML: a test for each rule"),
    "github": Format("github", "annotations of GitHub Actions", to_file=False),
    "gitlab": Format("gitlab", "GitLab's Code Quality report"),
    "html": Format("html", "a page with the graph drawn and the findings beside it (needs the extra `graph`)"),
    "model-explorer": Format("model_explorer", "the graph for Model Explorer, as JSON"),
    "model-explorer-data": Format("model_explorer_data", "what runs, to be laid over a graph in Model Explorer"),
}


def rendered(name: str, report: AuditReport) -> str:
    """The report as the text of that format. Raises KeyError for one that there is not."""
    module = import_module(f"qdsl.auditing.formats.{FORMATS[name].module}")
    return str(module.render(report))
