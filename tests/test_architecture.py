"""docs/architecture.md names files and what is in them: both are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:qdsl|passes|tests)/[\w./]*[\w/])(?::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[":".join(each) for each in NAMED])
def test_what_the_page_names_is_there(path: str, name: str) -> None:
    assert (ROOT / path).exists()
    if name:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.ClassDef)}


def test_the_page_names_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "qdsl").glob("*/__init__.py")}
    small = {"search", "starter", "rewrite", "harness", "lock"}  # told of in CONTRIBUTING's table alone
    assert {room for room in rooms - small if f"qdsl/{room}/" not in PAGE} == set()
