"""Every rule of the audit by its id: the file of that name in `rules`, with a class `Check`. Listing loads nothing; a
rule is imported when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import cast

from qdsl.auditing.rule import Rule
from qdsl.spec.audit_rules import RULES as RULES  # a new rule is a line there, and its file in `rules`


def rules(target: str) -> Iterator[Rule]:
    """The rules that speak of `target`."""
    for name in RULES:
        rule = rule_named(name)
        if not rule.targets or target in rule.targets:
            yield rule


def rule_named(name: str) -> Rule:
    """The rule with that id. Raises KeyError."""
    if name not in RULES:
        raise KeyError(name)
    return cast(Rule, import_module(f"qdsl.auditing.rules.{name}").Check())
