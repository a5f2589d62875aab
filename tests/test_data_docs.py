"""docs/data.md speaks of every source and setting of a dataset, and its recipes parse."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qdsl.data import SOURCES
from qdsl.data.image import LARGE, MAX_BYTES, USUAL, WEBP, WIDE
from qdsl.data.npz import MAX_SAMPLE_BYTES
from qdsl.lang import loads
from qdsl.lang.vocabulary import SOURCES as WORDS
from qdsl.lang.vocabulary import rows

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_has_a_part_with_a_tree(source: str) -> None:
    part = TEXT.split(f"\n## {source}\n")[1].split("\n## ")[0]
    assert part.count("```") >= 2 and f"`{source} " in part
    assert f"[`{source}`](#{source})" in TEXT


def test_the_language_and_the_reader_know_the_same_sources() -> None:
    assert set(SOURCES) == set(WORDS)


@pytest.mark.parametrize("setting", list(rows("data")))
def test_every_setting_is_told(setting: str) -> None:
    assert re.search(rf"`[^`]*\b{setting}\b[^`]*`", TEXT)


def test_recipes_parse() -> None:
    blocks = re.findall(r"```qdsl\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) == 2
    for at, block in enumerate(blocks):
        head = f'recipe r{at}\nmodel onnx "m.onnx"\nquantize dynamic {{ weights int8 }}\ntarget ort\n'
        assert loads(head + block).recipe.data


def test_limits_are_those_of_the_code() -> None:
    assert f"above {LARGE // USUAL // 10**6} megapixels" in TEXT and f"at most {MAX_BYTES // 10**6} MB" in TEXT
    for each in (USUAL, WIDE, WEBP):
        assert re.search(rf"{each}\s+bytes( \(|,| and)", TEXT) and f"{MAX_BYTES // each // 10**6} megapixels" in TEXT
    assert f"at most {MAX_SAMPLE_BYTES // 2**20} MiB" in TEXT
