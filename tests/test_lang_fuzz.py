"""Damaged recipes: whatever is done to a shipped recipe, reading it gives a recipe or diagnostics, nothing else."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from qdsl.diag import QdslError, one_line, render_all
from qdsl.diag.codes.lang import CODES
from qdsl.lang import format_text, loads
from tests.test_lang_parse import RECIPES

ROUNDS = 10_000
TEXTS = [path.read_text(encoding="utf-8") for path in RECIPES]
SHIPPED = [path.read_text(encoding="utf-8") for path in RECIPES if path.parent.name == "recipes"]
WORDS = sorted({word for text in TEXTS for word in text.split()})
SIGNS = '{}[]()",;=<>-$#\\\n\r\t\0\ufeff\u00e9\ud800 0.1e9%@'

TOKENS = re.compile(r'"[^"\n]*"|\w+|\s+|.', re.DOTALL)
NUMBERS = ("0", "-1", "1e999", "9" * 80, "1" + "0" * 400, "2147483648", "1/0", "1e-400", "NaN", "inf", "0x1f")

Damage = Callable[[random.Random, str], str]


def cut(rng: random.Random, text: str) -> str:
    """Without a piece."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.choice((1, 1, 2, 10, 100)) :]


def sign(rng: random.Random, text: str) -> str:
    """With a sign more."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(SIGNS) * rng.choice((1, 1, 1, 70)) + text[at:]


def word(rng: random.Random, text: str) -> str:
    """With one word for another."""
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice(WORDS)
    return " ".join(words)


def lines(rng: random.Random, text: str) -> str:
    """With a line moved or doubled."""
    rows = text.split("\n")
    row = rows.pop(rng.randrange(len(rows)))
    for _ in range(rng.choice((1, 2))):
        rows.insert(rng.randrange(len(rows) + 1), row)
    return "\n".join(rows)


def letter(rng: random.Random, text: str) -> str:
    """With one character for another."""
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(text + SIGNS) + text[at + 1 :]


def bits(rng: random.Random, text: str) -> str:
    """With a bit flipped somewhere in its bytes."""
    raw = bytearray(text.encode("utf-8", "surrogatepass") or b"\n")
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    return raw.decode("utf-8", "replace")


def splice(rng: random.Random, text: str) -> str:
    """The start of it and the end of another recipe."""
    other = rng.choice(TEXTS)
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other)) :]


def token(rng: random.Random, text: str) -> str:
    """With a word or sign left out, doubled, or exchanged with another."""
    toks = TOKENS.findall(text) or [text]
    at, other = rng.randrange(len(toks)), rng.randrange(len(toks))
    turn = rng.randrange(3)
    if turn == 2:
        toks[at], toks[other] = toks[other], toks[at]
    else:
        toks[at : at + 1] = [toks[at]] * (2 * turn)
    return "".join(toks)


def number(rng: random.Random, text: str) -> str:
    """With another value for a number, or a number where none was."""
    toks = TOKENS.findall(text) or [text]
    numbers = [i for i, tok in enumerate(toks) if tok[:1].isdigit()] or range(len(toks))
    toks[rng.choice(numbers)] = rng.choice(NUMBERS)
    return "".join(toks)


DAMAGES: tuple[Damage, ...] = (cut, sign, word, lines, letter, bits, splice, token, number)


def damaged(rng: random.Random, text: str) -> str:
    """A text after a few damages; sometimes only a piece of it."""
    if rng.random() < 0.5:
        rows = text.split("\n")
        begin = rng.randrange(len(rows))
        text = "\n".join(rows[begin : begin + rng.randrange(1, 12)])
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        text = rng.choice(DAMAGES)(rng, text)
    return text


def survives(text: str, directory: Path) -> None:
    """Read, and where that works format, a text; only diagnostics with known codes may stop it."""
    try:
        loads(text, directory=directory)
        format_text(text, "f.q")
    except QdslError as wrong:
        assert wrong.diagnostics
        assert {d.code for d in wrong.diagnostics} <= set(CODES)
        assert render_all(wrong.diagnostics, {"<text>": text})
        assert all("\n" not in one_line(d) for d in wrong.diagnostics)


@pytest.mark.slow
def test_ten_thousand_damaged_recipes(tmp_path: Path) -> None:
    seed = int(os.environ.get("QDSL_FUZZ_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"seed {seed}")  # noqa: T201 (pytest shows it when the test fails)
    rng = random.Random(seed)
    for turn in range(ROUNDS):
        text = damaged(rng, rng.choice(SHIPPED if turn % 2 else TEXTS))
        try:
            survives(text, tmp_path)
        except Exception as fault:
            raise AssertionError(f"seed {seed}, turn {turn}: {text!r}") from fault


@pytest.mark.slow
def test_a_few_damaged_recipes(tmp_path: Path) -> None:
    rng = random.Random(20)
    for _ in range(400):
        survives(damaged(rng, rng.choice(TEXTS)), tmp_path)
