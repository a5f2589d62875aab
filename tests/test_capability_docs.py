"""docs/targets.md shows the rows and explains the keys that the tables have."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from qdsl.capability import Capability, Row, load, names

PAGE = Path(__file__).resolve().parent.parent / "docs" / "targets.md"
KIND = {"compute": "computes", "moves": "moves", "absorbed": "folds", "float": "float"}


def line(row: Row) -> str:
    types = ", ".join(t.name for t in row.activation_types)
    kernel = row.kernel.replace("{op}", "*") or ("" if row.kind != "moves" else "itself")
    cells = [
        ", ".join("every other" if op == "*" else op for op in row.ops),
        KIND[row.kind],
        kernel,
        types,
        row.because,
    ]
    return f"| {' | '.join(cells)} |"


def rows_of(table: Capability) -> str:
    head = "| operators | | kernel | activations | |\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *(line(row) for row in table.rows)])


@pytest.mark.parametrize("name", names())
def test_the_page_shows_the_rows(name: str, request: pytest.FixtureRequest) -> None:
    begin, end = f"<!-- rows of {name}: begin -->\n", f"\n<!-- rows of {name}: end -->"
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    shown, _, after = rest.partition(end.lstrip("\n") if request.config.getoption("--regen") else end)
    assert after, f"docs/targets.md has no place for the rows of {name}"
    if request.config.getoption("--regen"):
        PAGE.write_text(f"{before}{begin}{rows_of(load(name))}{end}{after}", encoding="utf-8")
    else:
        assert shown == rows_of(load(name)), "the rows changed: `pytest tests/test_capability_docs.py --regen`"


def test_the_page_explains_every_key() -> None:
    explained = set(re.findall(r"`\[*([a-z_]+)\]*`", PAGE.read_text(encoding="utf-8")))
    for name in names():
        raw = tomllib.loads((resources.files("qdsl.capability") / f"{name}.toml").read_text(encoding="utf-8"))
        assert {key for row in raw["row"] for key in row} <= explained
        assert {key for row in raw["row"] for key in row.get("when", {})} <= explained
        general = {"format", "title", "evidence", "min_opset", "max_opset", "row", "signed_spread_max_opset"}
        assert set(raw) - general <= explained
