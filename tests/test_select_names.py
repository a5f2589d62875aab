"""Patterns in selectors: `*` and `?`, regular expressions without backtracking, and the nearest names."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.lang.regex import Regex, RegexError, UnsupportedError
from qdsl.select.names import close_names, glob, in_scope


def slow_glob(pattern: str, name: str) -> bool:
    """The definition, by trying everything."""
    if not pattern:
        return not name
    if pattern[0] == "*":
        return any(slow_glob(pattern[1:], name[cut:]) for cut in range(len(name) + 1))
    return bool(name) and pattern[0] in {"?", name[0]} and slow_glob(pattern[1:], name[1:])


@given(st.text("ab*?", max_size=7), st.text("ab/", max_size=9))
def test_glob_is_its_definition(pattern: str, name: str) -> None:
    assert glob(pattern)(name) is slow_glob(pattern, name)


@given(st.text(max_size=8))
def test_a_glob_without_wildcards_is_the_name_itself(name: str) -> None:
    pattern = name.replace("*", "").replace("?", "")
    assert glob(pattern)(pattern)
    assert not glob(pattern)(pattern + "x")


@pytest.mark.parametrize(
    ("pattern", "name", "yes"),
    [
        ("*/cv2.?.2/Conv", "/model.22/cv2.0/cv2.0.2/Conv", True),
        ("*/cv2.?.2/Conv", "/model.22/cv2.0/cv2.0.0/conv/Conv", False),
        ("[ab]*", "a", False),
        ("[ab]*", "[ab]c", True),
        ("a.c", "abc", False),
        ("*\n", "x\n", True),
    ],
)
def test_glob_by_example(pattern: str, name: str, yes: bool) -> None:
    assert glob(pattern)(name) is yes


def test_many_stars_do_not_blow_up() -> None:
    assert not glob("*a" * 200 + "b")("a" * 5_000)


CHARS = [
    "a",
    "b",
    "1",
    "/",
    "\n",
    "é",
    ".",
    r"\.",
    r"\n",
    r"\d",
    r"\w",
    r"\s",
    r"\D",
    r"\W",
    r"\S",
    "{",
    "}",
    "]",
    "{x}",
    "{2",
]
ATOMS = st.sampled_from([*CHARS, "[ab]", "[^a]", "[a-b/]", r"[^\d\s-]", "[]-]", "^", "$", r"\A", r"\Z"])
TIMES = ["*", "+", "?", "{2}", "{1,2}", "{,1}", "{2,}", "{,}", "{0}", "{00002}", "*?", "+?", "??", "{1,2}?"]
TEXTS = st.text("ab1/_.\n\r \x1c{}]2x-é²", max_size=7)


def _combine(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(parts, st.sampled_from(TIMES))
    return st.one_of(
        st.lists(parts, max_size=3).map("".join),
        repeated.map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        repeated.map("".join),
        st.tuples(parts, parts).map(lambda pair: f"({pair[0]}|{pair[1]})"),
    )


def in_python(pattern: str) -> re.Pattern[str] | None:
    """What Python makes of a pattern; None where it is none there."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that may mean something else one day
            return re.compile(pattern, re.ASCII)
    except (re.error, OverflowError):
        return None


def ours(pattern: str) -> Regex | None:
    try:
        return Regex(pattern)
    except RegexError as fault:
        assert str(fault) and 0 <= fault.at <= len(pattern)
        return None


def require_the_same(pattern: str, texts: list[str]) -> None:
    found, oracle = ours(pattern), in_python(pattern)
    if found is None:
        return
    assert oracle is not None, f"Python refuses {pattern!r}"
    for text in texts:
        assert found.search(text) is (oracle.search(text) is not None), (pattern, text)


@pytest.mark.slow
@given(st.recursive(ATOMS, _combine, max_leaves=6), st.lists(TEXTS, max_size=5))
@settings(max_examples=400, deadline=None)
def test_what_is_built_of_the_language_means_what_it_means_in_python(pattern: str, texts: list[str]) -> None:
    require_the_same(pattern, ["", "\n", *texts])


@pytest.mark.slow
@given(st.text("a1b()[]{}|*+?^$\\-,:.dDwSAZn0&~é \n", max_size=12), st.lists(TEXTS, max_size=3))
@settings(max_examples=1000, deadline=None)
def test_any_pattern_means_what_it_means_in_python_or_is_refused(pattern: str, texts: list[str]) -> None:
    require_the_same(pattern, ["", "a1b", "ab\n", *texts])


@given(st.recursive(ATOMS, _combine, max_leaves=6))
@settings(max_examples=300, deadline=None)
def test_what_is_built_of_the_language_is_refused_only_where_python_does(pattern: str) -> None:
    """But for what takes what it can for good, which matches something else."""
    try:
        Regex(pattern)
    except UnsupportedError as fault:
        assert "possessive" in str(fault) or "(?" in pattern  # such as `(?|a)`, where nothing is repeated
    except RegexError:
        assert in_python(pattern) is None, pattern


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("a$", ["a", "a\n", "a\n\n", "ab"]),
        (r"a\Z", ["a", "a\n"]),
        ("^$", ["", "\n", "a"]),
        ("a$\n", ["a\n", "a"]),
        ("a{,}b", ["b", "aab", "a"]),
        ("a{00002}", ["a", "aa"]),
        ("a{x}", ["a{x}", "a"]),
        (r"^\s$", ["\x1c", " ", "\x0b", "\x85"]),
        (r"^\w$", ["é", "_", "²"]),
        (r"^[\w-]$", ["-", "a", "."]),
    ],
)
def test_where_python_has_its_own_mind(pattern: str, texts: list[str]) -> None:
    assert ours(pattern) is not None
    require_the_same(pattern, texts)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("(a+)+$", "a" * 5_000 + "b"),
        ("(a|a)*b", "a" * 5_000),
        ("(a*)*c", "a" * 5_000),
        ("(.*)(.*)(.*)(.*)x", "a" * 5_000),
    ],
)
def test_patterns_that_explode_elsewhere_take_linear_time(pattern: str, text: str) -> None:
    assert not Regex(pattern).search(text)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "never closed"),
        ("a)", "closes nothing"),
        ("[a", "never closed"),
        ("*a", "repeats nothing"),
        ("(|{2})", "`.2.` repeats nothing"),
        ("a**", "two repetitions"),
        ("a{2}{3}", "two repetitions"),
        ("a*{2}", "two repetitions"),
        ("a*?{2}", "two repetitions"),
        ("a*+", "possessive"),
        ("a{2}+", "possessive"),
        ("a{3,2}", "wrong way round"),
        (r"(a)\1", "not supported"),
        (r"\ba", "not supported"),
        ("(?=a)", "look-around"),
        ("(?P<n>a)", "names"),
        ("[b-a]", "wrong way"),
        (r"[\d-a]", "from one character to another"),
        (r"[a-\w]", "from one character to another"),
        ("^*", "anchor"),
        ("a\\", "lone"),
        ("a{9999}", "states"),
        ("a{99999}", "states"),
        ("a{" + "9" * 900 + "}", "states"),
        ("((a{99}){99}){99}", "states"),
        ("(" * 60 + ")" * 60, "nested deeper"),
        ("a" * 1_001, "longer"),
    ],
)
def test_what_cannot_be_used_is_said(pattern: str, message: str) -> None:
    with pytest.raises(RegexError, match=message):
        Regex(pattern)


def test_names_that_differ_in_numbers_come_nearest_first() -> None:
    scopes = ["/model.2", "/model.20", "/model.21", "/model.22", "/model.22/cv2"]
    assert close_names("/model.23", scopes) == ("/model.22", "/model.21")


def test_letter_case_is_no_distance() -> None:
    assert close_names("/Layer1/relu", ["/layer1/Relu", "/stem/Conv"]) == ("/layer1/Relu",)


def test_a_pattern_that_opens_with_a_star_is_compared_with_the_ends_of_names() -> None:
    known = ["/model.22/cv2.0/cv2.0.2/Conv", "/model.22/cv3.0/cv3.0.2/Conv", "/model.1/act/Mul"]
    assert close_names("*/cv2.0.3/Conv", known)[0] == "/model.22/cv2.0/cv2.0.2/Conv"


def test_nothing_is_near_a_word_unlike_all_names() -> None:
    assert close_names("zzzzzzzz", ["/model.1/conv/Conv"]) == ()


def test_a_scope_holds_itself_and_what_is_below_but_not_its_namesakes() -> None:
    assert in_scope(("/model.2", "/model.2/cv1"), "/model.2")
    assert in_scope(("/model.2/cv1",), "/model.2")
    assert not in_scope(("/model.22",), "/model.2")


@pytest.mark.parametrize("pattern", ["a{2}{3}", "a*{2}", "a{,}", "a{,}b", "a{}", "a{x}", "a{2,}?", "a??", "a?{2}"])
def test_repetitions_mean_what_they_mean_in_python(pattern: str) -> None:
    try:
        known = re.compile(pattern)
    except re.error:
        with pytest.raises(RegexError):
            Regex(pattern)
        return
    for text in ("", "a", "aa", "aaab", "a{}", "a{x}", "{,}", "b"):
        assert Regex(pattern).search(text) == (known.search(text) is not None), text
