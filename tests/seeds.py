"""Parameters of which some run by default and all with the slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few_of(values: Iterable[Any], default: int) -> list[Any]:
    """`values` for `parametrize`: the first `default` run always, the others are slow tests."""
    return [value if at < default else pytest.param(value, marks=pytest.mark.slow) for at, value in enumerate(values)]
