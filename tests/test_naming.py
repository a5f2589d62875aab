"""The name on the package index: one constant, and every line that tells people what to install agrees with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from qdsl.spec import DISTRIBUTION, install_extra

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOLD = (
    *(path for folder in ("qdsl", "passes", "docs", "recipes", "examples") for path in (ROOT / folder).rglob("*")),
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", ".ci/run", ".ci/wheel")),
)


def texts() -> dict[Path, str]:
    kinds = {".py", ".md", ".q", ".toml", ""}
    return {path: path.read_text(encoding="utf-8") for path in TOLD if path.is_file() and path.suffix in kinds}


def test_the_distribution_is_called_as_the_constant_says() -> None:
    assert PROJECT["name"] == DISTRIBUTION != "qdsl"
    assert list(PROJECT["scripts"]) == ["qdsl"]
    assert install_extra("train") == f"pip install '{DISTRIBUTION}[train]'"


def test_whatever_names_an_extra_names_one_that_exists_under_our_name() -> None:
    found = 0
    for path, text in texts().items():
        for name, extra in re.findall(r"(?<![\w-])(qdsl(?:-\w+)?)\[([a-z]+)\]", text):
            assert name == DISTRIBUTION, f"{path.name}: `{name}[{extra}]` is another project's"
            assert extra in PROJECT["optional-dependencies"], f"{path.name}: no extra `{extra}`"
            found += 1
        for extra in re.findall(r"install_extra\(\"(\w+)\"\)", text):
            assert extra in PROJECT["optional-dependencies"], f"{path.name}: no extra `{extra}`"
            found += 1
    assert found >= 3


def test_no_line_installs_the_other_project() -> None:
    for path, text in texts().items():
        assert not re.search(r"pip3? install[^\n`]*\sqdsl(?![\w\[-])", text), path.name
