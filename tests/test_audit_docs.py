"""docs/audit.md has every rule as the rules themselves say it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdsl.auditing.index import RULES, rule_named

PAGE = Path(__file__).resolve().parent.parent / "docs" / "audit.md"
BEGIN, END = "<!-- rules: begin -->\n", "<!-- rules: end -->"


def table() -> str:
    head = "| rule | severity | targets | what it finds | why it matters |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(f"{line(name)}\n" for name in RULES)


def line(name: str) -> str:
    rule = rule_named(name)
    first = re.split(r"(?<=[.]) (?=[A-Z])", rule.explanation)[0]
    cells = (f"`{name}`", rule.severity.value, ", ".join(rule.targets) or "all", rule.summary, first)
    return f"| {' | '.join(each.replace('|', '/') for each in cells)} |"


def test_the_page_has_every_rule(request: pytest.FixtureRequest) -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    shown, _, after = rest.partition(END)
    assert after, "docs/audit.md has no place for the rules"
    if request.config.getoption("--regen"):
        PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}", encoding="utf-8")
    else:
        assert shown == table(), "the rules changed: `pytest tests/test_audit_docs.py --regen`"


@pytest.mark.parametrize("name", RULES)
def test_a_rule_says_what_it_is_about(name: str) -> None:
    rule = rule_named(name)
    assert rule.id == name and rule.explanation.endswith(".") and not rule.summary.endswith(".")
    assert len(rule.summary) < 120 and "  " not in rule.explanation
