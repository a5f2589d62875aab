"""Every diagnostic code: documented, raised somewhere, and raised by its own example through the verb it names."""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from bad_setups import CALLS, SETUPS, build
from test_floors import tree

from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.diag.codes import CodeDoc, all_codes

ROOT = Path(__file__).resolve().parent.parent
CODES = all_codes()
VERBS = ("doctor", "check", "fmt", "plan", "explain", "compile", "report", "verify", "audit")
KEBAB = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

# What the command line needs beside the recipe.
MORE_WORDS = {
    "unknown-name": ["no/such/node"],
    "target-not-in-recipe": ["--target", "orr"],
    "mode-missing": ["--target", "ort"],
    "lock-missing": ["--locked"],
    "lock-unchecked": ["--locked"],
    "evaluate-left-out": ["--locked"],
    "lock-unwritable": ["--update"],
    "python-failed": ["--allow-python"],
}
# What the same example shows, too.
BESIDE = {
    "newer-opset": {"slow-kernel"},
    "range-by-hand": ["signal-lost"],  # it cuts off most of a tensor, which ruins the output
    "sums-inexact": ["no-float-model"],  # a note of every recipe that only measures a file
    "fused-otherwise": ["no-float-model"],
}
# What no line of a recipe has to do with.
PLACELESS = {"artifact-write", "code-unknown", "file-unwritable", "target-absent", "unknown-name"}
PLACELESS |= {"new-data", "new-example", "new-exists"}
PLACELESS |= {"measurements-missing", "measurements-file", "measurements-other", "verify-nothing"}
# Without a recipe at all.
WORDS = {"code-unknown": ["explain", "selector-emty"], "target-absent": ["doctor", "--target", "tensort"]}

# Calls whose first argument is a code; `unknown("data", ...)` says `unknown-data`.
SAYS = frozenset({"Diagnostic", "Flag", "add", "error", "_error", "warning", "problem", "failure", "note"})


def written(folder: Path, code: str, doc: CodeDoc) -> str:
    """Writes the example and what stands beside it; returns the recipe's file name."""
    named = re.search(r"^recipe\s+(\w+)$", doc.example, re.MULTILINE)
    name = "example" if named is None or doc.verb in ("check", "fmt") else named[1]
    name += ".q"
    (folder / name).write_text(doc.example, encoding="utf-8")
    build(doc.setup, folder)
    return name


def denied(path: Path, content: bytes, mode: int | None = None) -> None:
    raise PermissionError(13, "Permission denied", str(path))


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What a command tells, as data. A plan's flags are told inside it."""
    exit_code = main([*words, "--json"])
    captured = capsys.readouterr()
    assert exit_code in (0, 1, 4), captured.err
    document = json.loads(captured.out)
    found = list(document.get("diagnostics", []))
    for value in document.get("recipes", {}).values():
        found += value if isinstance(value, list) else []
    for plan in document.get("plans", []):
        found += plan["flags"]
    return found


@pytest.mark.parametrize("code", sorted(code for code, doc in CODES.items() if doc.verb != "library"))
def test_the_example_raises_its_code(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = CODES[code]
    if code == "file-unwritable":  # whoever may do everything writes into any directory
        monkeypatch.setattr("qdsl.lang.write.replace_file", denied)
    monkeypatch.chdir(tmp_path)
    words = WORDS.get(code)
    if words is None:
        name = written(tmp_path, code, doc)
        words = [doc.verb, "build/example" if doc.verb in ("report", "verify") else name, *MORE_WORDS.get(code, [])]
        words = ["audit", "model.onnx", "--recipe", name] if doc.verb == "audit" else words
    try:
        found = told(words, capsys)
    finally:
        tmp_path.chmod(0o755)
    if doc.verb == "check":  # examples name models that are not there
        found = [one for one in found if one["code"] == code or one["code"] not in ("file-missing", "model-missing")]
    assert {one["code"] for one in found} == {code, *BESIDE.get(code, ())}
    for one in found:
        if one.get("severity") == "error":
            assert one["help"], "an error says what helps"
            assert one["span"] or code in PLACELESS, "an error has a place"


SLOW = {"calibration-shard"}  # test_sharding.py has one that fails


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(code, marks=[pytest.mark.slow] if code in SLOW else [])
        for code, doc in sorted(CODES.items())
        if doc.verb == "library"
    ],
)
def test_the_call_raises_its_code(code: str, tmp_path: Path) -> None:
    with pytest.raises(QdslError) as caught:
        CALLS[code](tmp_path)
    assert {d.code for d in caught.value.diagnostics} == {code}


def test_calls_and_setups_belong_to_codes() -> None:
    assert set(CALLS) == {code for code, doc in CODES.items() if doc.verb == "library"}
    used = {doc.setup for doc in CODES.values()}
    assert set(SETUPS) <= used


def test_every_code_is_documented() -> None:
    for code, doc in CODES.items():
        assert KEBAB.fullmatch(code)
        assert len(doc.summary) > 15 and len(doc.explanation) > 15, code
        assert "\n" not in doc.summary, code
        assert doc.verb in (*VERBS, "library"), code
        assert doc.example or code in WORDS, code


@cache
def sources() -> tuple[dict[str, list[str]], set[str]]:
    """The codes that calls give, by their places in every module that can raise something; and all literal texts. In
    one walk, which is what costs."""
    given: dict[str, list[str]] = {}
    texts = set()
    for path in (path for folder in ("qdsl", "passes") for path in sorted((ROOT / folder).rglob("*.py"))):
        for node in () if "codes" in path.parts else ast.walk(tree(path)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(node.value)
            elif isinstance(node, ast.Call) and node.args and (codes := _codes_of(node)):
                given[f"{path.relative_to(ROOT)}:{node.lineno}:{node.col_offset}"] = codes
    return given, texts


def test_codes_belong_to_the_source_and_the_source_to_codes() -> None:
    """What is raised is registered; what is registered stands in the source as a text of its own, or as the kind of
    thing that is unknown (`"data"` for `unknown-data`)."""
    given, texts = sources()
    assert not [f"{place}: {code}" for place, codes in given.items() for code in codes if code not in CODES]
    kinds = {f"unknown-{text.replace(' ', '-')}" for text in texts}
    assert not [code for code in CODES if code not in texts | kinds]


def _codes_of(call: ast.Call) -> list[str]:
    """The codes that a call gives literally."""
    named = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    texts = _texts(call.args[0])
    if named == "unknown":
        return [f"unknown-{text.replace(' ', '-')}" for text in texts]
    return [text for text in texts if KEBAB.fullmatch(text)] if named in SAYS else []


def _texts(node: ast.expr) -> list[str]:
    """The literal texts that an expression can be: `"a"`, `"a" if x else "b"`."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
