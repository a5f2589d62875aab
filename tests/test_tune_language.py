"""`tune latency`: what it says, how bases merge, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdsl.diag import QdslError
from qdsl.lang import load, loads
from qdsl.lang.recipe import Tune
from tests.test_lang_parse import codes

DATA = 'data d from npz "d.npz"\n'


def tuned(text: str) -> Tune:
    found = loads(DATA + text).recipe.tune
    assert found is not None
    return found


def test_everything_may_be_left_out() -> None:
    found = tuned("tune latency\n")
    assert (found.goal, found.data, found.trials, found.blocks, found.threads) == ("latency", None, None, None, None)
    assert found.requires == ()


def test_everything_may_be_said() -> None:
    found = tuned('tune latency on d { trials 3; blocks 9; threads 2; require sqnr "y" >= 30 dB }\n')
    assert (found.data, found.trials, found.blocks, found.threads) == ("d", 3, 9, 2)
    (bound,) = found.requires
    assert (bound.metric.qualifiers, bound.form, bound.comparison) == (("y",), "value", ">=")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("tune accuracy", "unknown-goal"),
        ("tune latency on nowhere", "unknown-data"),
        ("tune latency { trials 0 }", "setting-value"),
        ("tune latency { blocks 5 }", "setting-value"),
        ("tune latency { tries 3 }", "unknown-setting"),
        ("tune latency { trials 3; trials 4 }", "defined-twice"),
        ("tune latency { require map50 >= 0.5 }", "wrong-metric"),
        ("tune latency { require cosine >= 0.9 }", "wrong-metric"),
        ("tune latency { require sqnr <= 30 dB }", "wrong-metric"),
        ("tune latency { require sqnr drop >= 1 dB }", "wrong-metric"),
        ("tune latency { require sqnr drop <= 1 % }", "wrong-metric"),
        ("tune latency { require sqnr >= 30 }", "wrong-unit"),
        ("tune latency { require sqnr drop <= 1 dB; require sqnr drop <= 2 dB }", "defined-twice"),
        ("tune latency\ntune latency", "defined-twice"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    assert code in codes(DATA + text + "\n")


def test_a_recipe_changes_only_what_it_writes(tmp_path: Path) -> None:
    base = "recipe base\n" + DATA + "tune latency on d { trials 3; threads 1; require sqnr drop <= 1 dB }\n"
    (tmp_path / "base.q").write_text(base)
    more = "tune latency { trials 8; require sqnr drop <= 0.1 dB }\n"
    (tmp_path / "demo.q").write_text(f'recipe demo\nextends "base.q"\n{more}')
    found = load(tmp_path / "demo.q").recipe.tune
    assert found is not None
    assert (found.data, found.trials, found.threads) == ("d", 8, 1)
    assert [bound.bound.value for bound in found.requires if bound.bound] == [0.1]


def test_a_bound_stands_where_it_is_wrong() -> None:
    with pytest.raises(QdslError) as caught:
        loads(DATA + "tune latency {\n  require size <= 1 MB\n}\n")
    (found,) = caught.value.diagnostics
    assert found.span is not None and found.span.line == 3
    assert found.help
