"""Figures in the words in which people read them."""

from __future__ import annotations

import pytest

from qdsl.spec.words import in_unit


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (0.8557, None, "0.8557"),
        (1.0, None, "1.0000"),
        (16384.0, None, "16,384"),
        (57006701.25, None, "57,006,701"),
        (1.36, None, "1.3600"),
        (240328.0, "KB", "234.7 KiB"),
        (0.0148, "ms", "14.80 ms"),
    ],
)
def test_a_figure_in_the_unit_of_its_bound(value: float, unit: str | None, told: str) -> None:
    assert in_unit(value, unit) == told
