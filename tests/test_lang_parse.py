"""Reading recipes: every rule of the grammar, every row of the vocabulary, where statements end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import qdsl.lang.parse as parsing
from qdsl.diag import QdslError, Span
from qdsl.lang import load, loads, require_complete
from qdsl.lang import syntax as tree
from qdsl.lang.parse import grammar, parse
from qdsl.lang.vocabulary import BLOCKS, METRICS, TABLE, Row, rows

HERE = Path(__file__).parent
RECIPES = sorted((HERE / "lang").rglob("*.q")) + sorted((HERE.parent / "recipes").glob("*.q"))


def codes(text: str, **options: Any) -> list[str]:
    """The codes that a text raises, in source order."""
    try:
        loads(text, **options)
    except QdslError as wrong:
        return [d.code for d in wrong.diagnostics]
    return []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_resolves(path: Path) -> None:
    loaded = load(path)
    assert loaded.recipe.name == path.stem
    assert loaded.diagnostics == ()


def test_the_examples_reach_every_grammar_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: set[str] = set()
    build = parsing.build

    def watch(found: Any, faults: Any) -> Any:
        reached.update(str(part.data) for part in found.iter_subtrees())
        return build(found, faults)

    monkeypatch.setattr(parsing, "build", watch)
    for path in RECIPES:
        parse(path.read_text(encoding="utf-8"), path.name)
    rules = {str(rule.origin.name) for rule in grammar().lark.rules}
    assert {rule for rule in rules if not rule.startswith("_")} - reached - {"start", "value"} == set()


# A recipe around the settings of each block.
AROUND = {
    "input": "input {{ {} }}",
    "data": 'data d from npz "d.npz" {{ {} }}',
    "quantize": 'data d from npz "d.npz"\nquantize static {{ {} }}',
    "layers": 'data d from npz "d.npz"\nlayers all {{ {} }}',
    "sensitivity": 'data d from npz "d.npz"\nallocate weights from [int8] {{ sensitivity sqnr on d {{ {} }} }}',
    "allocate": "allocate layers from [int8] {{ {} }}",
    "improve": "improve {{ {} }}",
    "train": 'data d from npz "d.npz"\ntrain qat on d {{ {} }}',
    "tune": "tune latency {{ {} }}",
    "target": "target ort {{ {} }}",
    "evaluate": 'data d from npz "d.npz"\nevaluate detection on d {{ {} }}',
    "profile": "target ort {{ profile latency {{ {} }} }}",
    "corrupt": 'data d from npz "d.npz"\nevaluate detection on d {{ corrupt {{ {} }} }}',
}
VALUES = {
    "N": "7",
    "I": "0",
    "F": "1/4",
    "L": "3",
    "LS": "[1, 5]",
    "PCT": "50 %",
    "S": '"s"',
    "W": "w",
    "WS": '"ws"',
    "D": "d",
    "HW": "[3, 4]",
    "FS": "[-1, 0.5]",
    "NS": "[1, 2]",
    "IS": "[0]",
    "SS": '["a"]',
    "TYPE": "int4 affine per_block 8",
    "METHOD": "minmax",
}


def sample(row: Row) -> str:
    """A setting that says everything its row allows."""
    words = row.takes.replace("[", "").replace("]", "").removesuffix("..").split()
    said = " ".join(VALUES.get(choice := word.split("|")[-1], choice) for word in words)
    return f"{row.word} {said}, {said}" if row.takes.endswith("..") else f"{row.word} {said}".strip()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.block}-{row.word}-{row.takes[:6]}")
def test_vocabulary_row(row: Row) -> None:
    said = sample(row)
    assert codes(AROUND[row.block].format(said)) == []
    assert codes(AROUND[row.block].format(f"{said} zzz")) == ["two-settings"]
    assert codes(AROUND[row.block].format(f"{row.word}x")) == ["unknown-setting"]
    needs = row.takes and not row.takes.startswith("[")
    assert codes(AROUND[row.block].format(row.word)) == (["setting-value"] if needs else [])


def test_the_documentation_has_the_whole_vocabulary() -> None:
    page = (HERE.parent / "docs" / "language.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+?) \| (.+?) \|$", page, re.M))
    wanted = {(r.block, r.word, f"`{r.takes}`".replace("|", "\\|") if r.takes else "-", r.about) for r in TABLE}
    assert listed == wanted
    metrics = set(re.findall(r"^\| `(\w+)` \| ([\w, ]+) \| (\w+) \| .+? \|$", page, re.M))
    assert metrics == {(m.name, ", ".join(m.tasks) or "any", m.measures) for m in METRICS}


def test_blocks_are_known_to_the_test() -> None:
    assert set(BLOCKS) == set(AROUND)
    assert all(rows(block) for block in BLOCKS)


def test_spans_are_exact() -> None:
    found = parse('keep op [Conv, Gemm], "*x" expect 3 in float16', "f").tree.statements[0]
    assert isinstance(found, tree.Keep)
    assert found.span == Span("f", 1, 1, 1, 47)
    assert found.picks.span == Span("f", 1, 6, 1, 36)
    assert found.picks.parts[0].span == Span("f", 1, 6, 1, 21)
    assert found.dtype.span == Span("f", 1, 40, 1, 47)


@pytest.mark.parametrize(
    "one, other",
    [
        ("keep op Conv in float32; keep all in float16", "keep op Conv in float32\nkeep all in float16"),
        ("keep op [Conv,\n Gemm\n] in float32", "keep op [Conv, Gemm] in float32"),
        ("keep op [Conv, Gemm,] in float32", "keep op [Conv, Gemm] in float32"),
        (
            "keep op Conv and\n not depthwise or\n all,\n silu in float32",
            "keep op Conv and not depthwise or all, silu in float32",
        ),
        ("keep (op Conv\n or all\n) in float32", "keep (op Conv or all) in float32"),
        ("quantize static {\n\n\n weights int8;;\n;}\n;", "quantize static { weights int8 }"),
        ("keep all in float32 # why\r\nkeep silu in float32\r\n", "keep all in float32\nkeep silu in float32"),
        ("target ort { require size <= 3.6MiB }", "target ort { require size <= 3.6 MiB }"),
    ],
)
def test_layout_means_nothing(one: str, other: str) -> None:
    assert parse(one, "a").diagnostics == ()
    assert parse(one, "a").tree == parse(other, "b").tree


def test_selectors_bind_loosest_first() -> None:
    keep = parse("keep first 2 of not all and silu or gelu, pointwise in float32", "f").tree.statements[0]
    assert isinstance(keep, tree.Keep)
    nth, pointwise = keep.picks.parts
    assert isinstance(nth, tree.Nth) and isinstance(pointwise, tree.Named)
    assert isinstance(nth.of, tree.AnyOf)
    both, gelu = nth.of.parts
    assert isinstance(both, tree.AllOf) and isinstance(gelu, tree.Named)
    assert isinstance(both.parts[0], tree.Not)


def test_words_are_keywords_by_place_only() -> None:
    text = 'data first from npz "x"\ndata op from npz "y"\nquantize static { calibrate minmax on op }\n'
    recipe = loads(text).recipe
    assert [d.name for d in recipe.data] == ["first", "op"]
    assert recipe.mode is not None and recipe.mode.settings.calibrate is not None
    assert recipe.mode.settings.calibrate.data == "op"


def test_nodes_are_frozen_and_compare_without_spans() -> None:
    one, other = tree.Word(Span("a", 1, 1, 1, 2), "x"), tree.Word(Span("b", 9, 9, 9, 9), "x")
    assert one == other and hash(one) == hash(other)
    assert one != tree.UseParam(one.span, "x")
    assert repr(one) == "Word(name='x')"
    with pytest.raises(AttributeError):
        one.name = "y"  # type: ignore[misc]


@pytest.mark.parametrize(
    "text, missing",
    [
        ("recipe text", 3),
        ('model onnx "m.onnx"', 2),
        ('model onnx "m.onnx"\nquantize float', 1),
        ('model onnx "m.onnx"\nquantize float\ntarget ort', 0),
        ('model onnx "m.onnx"\nquantize float\ntarget ort\ndata d { take 3 }', 1),
    ],
)
def test_only_what_is_compiled_must_be_complete(text: str, missing: int) -> None:
    recipe = loads(text).recipe
    if not missing:
        require_complete(recipe)
        return
    with pytest.raises(QdslError) as raised:
        require_complete(recipe)
    assert [d.code for d in raised.value.diagnostics] == ["incomplete"] * missing
