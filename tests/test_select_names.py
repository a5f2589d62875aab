"""Patterns in selectors: `*` and `?`, regular expressions without backtracking, and the nearest names."""

from __future__ import annotations

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdsl.lang.regex import Regex, RegexError
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


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", "[a-b/]", r"\d", r"\W", r"\.", "1", "/", "^", "$"])


def _combine(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeated = st.tuples(parts, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{,1}", "{2,}", "*?", "+?"]))
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map("".join),
        repeated.map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.tuples(parts, parts).map(lambda pair: f"({pair[0]}|{pair[1]})"),
    )


@given(st.recursive(ATOMS, _combine, max_leaves=6), st.text("ab1/.\n", max_size=7))
def test_regex_agrees_with_python(pattern: str, text: str) -> None:
    # Python's `$` also holds before a last newline; here, as `\Z` there, only at the very end.
    expected = re.search(pattern.replace("$", r"\Z"), text) is not None
    assert Regex(pattern).search(text) is expected


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
        ("a{3,2}", "wrong way round"),
        (r"(a)\1", "not supported"),
        (r"\ba", "not supported"),
        ("(?=a)", "look-around"),
        ("(?P<n>a)", "names"),
        ("[b-a]", "wrong way"),
        ("^*", "anchor"),
        ("a\\", "lone"),
        ("a{9999}", "states"),
        ("((a{99}){99}){99}", "states"),
        ("(" * 60 + ")" * 60, "nested deeper"),
        ("a" * 1_001, "longer"),
    ],
)
def test_what_cannot_be_used_is_said(pattern: str, message: str) -> None:
    with pytest.raises(RegexError, match=message):
        Regex(pattern)


@given(st.text("a1b()[]{}|*+?^$\\-,:.dDwS", max_size=12))
def test_any_pattern_is_used_or_refused(pattern: str) -> None:
    try:
        regex = Regex(pattern)
    except RegexError as fault:
        assert 0 <= fault.at <= len(pattern)
        return
    assert regex.search("a1b") in {True, False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        re.compile(pattern)  # what is taken is one in Python, too


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
