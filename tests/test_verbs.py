"""The table of verbs: what it names is there, and what type checkers read beside it names the same."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import qdsl
import qdsl.api
from qdsl.verbs import HOMES, VERBS

ROOT = Path(__file__).resolve().parent.parent


def test_what_type_checkers_read_is_the_table() -> None:
    """Every import of the library's face, which are all for types alone."""
    tree = ast.parse((ROOT / "qdsl" / "api" / "__init__.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {each.asname: node.module for node in found for each in node.names if each.asname == each.name}
    assert names == HOMES


@pytest.mark.parametrize("name", sorted(HOMES))
def test_calls_and_results_are_where_the_table_says(name: str) -> None:
    found = getattr(import_module(HOMES[name]), name)
    assert found.__module__ == HOMES[name] and found.__doc__
    assert getattr(qdsl.api, name) is found
    assert name in qdsl.__all__ and name in qdsl.api.__all__


def test_a_package_with_the_name_of_a_verb_is_the_verb() -> None:
    for name in ("plan", "report"):
        assert import_module(f"qdsl.{name}") is getattr(qdsl, name)
        with pytest.raises(TypeError, match=rf"\b{name}\(\) got an unexpected keyword argument 'nothing'"):
            getattr(qdsl, name)("a.q", nothing=1)


def test_other_names_are_not_there() -> None:
    for face in (qdsl, qdsl.api):
        with pytest.raises(AttributeError, match=f"module '{face.__name__}' has no attribute 'passes_'"):
            face.passes_  # noqa: B018


def test_the_library_has_one_file_per_verb_at_most() -> None:
    files = {f"qdsl.api.{path.stem}" for path in (ROOT / "qdsl" / "api").glob("*.py")} - {"qdsl.api.__init__"}
    assert files == set(HOMES.values()) and len(files) <= len(VERBS)
