"""Plain data into dataclasses: what fits is read, and what does not is told with its place and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf, isnan
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdsl.spec import DTYPES, DType
from qdsl.spec.bounds import (
    ASIDE,
    SPARE,
    Check,
    Figure,
    FileName,
    Keyed,
    Many,
    OneOf,
    Sentence,
    Sha256,
    Stands,
    Text,
    UnfitError,
    Via,
    Whole,
)
from qdsl.spec.decode import decode, json_data, require_version, toml_data


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    size: Annotated[int, Whole(1, 9)]
    share: float = 0.5


def _pair(text: str) -> tuple[str, str]:
    left, sign, right = text.partition(":")
    if not sign:
        raise ValueError("expected two words around a colon")
    return left, right


@dataclass(frozen=True, slots=True)
class Record:
    parts: Annotated[tuple[Part, ...], Many(1, 3)]
    by_name: Annotated[tuple[Part, ...], Keyed("name")]
    counts: Mapping[Annotated[str, Text(5)], int]
    pair: Annotated[tuple[str, str], Via(str, _pair)]
    row: tuple[str, int, bool]
    dtype: DType
    colour: Colour | None
    word: Annotated[str, OneOf(("up", "down"))]
    file: FileName
    digest: Sha256
    why: Sentence
    figure: Annotated[Figure | None, Stands("class")] = None
    even: Annotated[int, Check(lambda value: "expected an even number" if value % 2 else "")] = 0
    known: Annotated[str, ASIDE] = "aside"
    noted: Annotated[str, SPARE] = ""
    texts: tuple[str, ...] = field(default_factory=tuple)

    def problem(self) -> str:
        return "more texts than parts" if len(self.texts) > len(self.parts) else ""


PART = {"name": "a", "size": 3, "share": 1}
GOOD: dict[str, Any] = {
    "parts": [PART],
    "by_name": {"b": {"size": 1, "share": 0.25}},
    "counts": {"x": -4},
    "pair": "left:right",
    "row": ["r", 7, True],
    "dtype": "int8",
    "colour": "blue",
    "word": "up",
    "file": "model.onnx",
    "digest": "0" * 64,
    "why": "because",
    "class": "-inf",
    "even": 2,
    "texts": [],
}


def test_what_fits_is_read() -> None:
    assert decode(Record, GOOD) == Record(
        parts=(Part("a", 3, 1.0),),
        by_name=(Part("b", 1, 0.25),),
        counts={"x": -4},
        pair=("left", "right"),
        row=("r", 7, True),
        dtype=DTYPES["int8"],
        colour=Colour.BLUE,
        word="up",
        file="model.onnx",
        digest="0" * 64,
        why="because",
        figure=-inf,
        even=2,
    )
    assert decode(Record, GOOD | {"colour": None, "class": None}).colour is None
    assert isnan(decode(Record, GOOD | {"class": "nan"}).figure or 0.0)
    assert decode(Record, GOOD | {"noted": "this"}).noted == "this"
    assert decode(tuple[int, ...], [1, 2]) == (1, 2)


def test_defaults_are_taken_only_where_they_may_be() -> None:
    least = {key: value for key, value in GOOD.items() if key not in ("class", "even", "texts")}
    assert decode(Record, least | {"parts": [{"name": "a", "size": 1}]}, defaults=True).parts[0].share == 0.5
    with pytest.raises(UnfitError, match=r"^at: the key `class` is missing$"):
        decode(Record, least, "at")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"parts": []}, "at.parts: expected at least 1, found 0"),
        ({"parts": [PART] * 4}, "at.parts: expected at most 3, found 4"),
        ({"parts": PART}, "at.parts: expected a list, found an object"),
        ({"parts": [PART, PART | {"size": 10}]}, "at.parts[a].size: expected a whole number from 1 to 9, found 10"),
        ({"parts": [PART | {"size": True}]}, "at.parts[a].size: expected a whole number from 1 to 9, found True"),
        ({"parts": [PART | {"size": 2.0}]}, "at.parts[a].size: expected a whole number from 1 to 9, found 2.0"),
        ({"parts": [PART | {"share": 1e400}]}, "at.parts[a].share: expected a number, found inf"),
        ({"parts": [PART | {"share": "inf"}]}, "at.parts[a].share: expected a number, found 'inf'"),
        ({"parts": [PART | {"name": 3}]}, "at.parts[0].name: expected a text, found 3"),
        ({"parts": [[]]}, "at.parts[0]: expected an object, found a list"),
        ({"parts": [{"size": 1, "share": 1}]}, "at.parts[0]: the key `name` is missing"),
        ({"parts": [PART | {"more": 1}]}, "at.parts[a]: unknown key `more`: expected name, size, share"),
        ({"by_name": {"b": PART}}, "at.by_name.b.name: expected 'b'"),
        ({"by_name": [PART]}, "at.by_name: expected an object, found a list"),
        ({"counts": {"x" * 6: 1}}, f"at.counts.{'x' * 6}: expected a text of at most 5 characters, found 6"),
        ({"counts": {"x": "1"}}, "at.counts.x: expected a whole number, found '1'"),
        ({"pair": "left"}, "at.pair: expected two words around a colon"),
        ({"row": ["r", 7]}, "at.row: expected 3 values, found 2"),
        ({"row": ["r", 7, 1]}, "at.row[2]: expected true or false, found 1"),
        ({"dtype": "int9"}, "at.dtype: expected one of int2, uint2, int4"),
        ({"colour": "green"}, "at.colour: expected one of red, blue, found 'green'"),
        ({"word": "left"}, "at.word: expected one of up, down, found 'left'"),
        ({"file": "../model"}, "at.file: expected the name of a file, without a path, found '../model'"),
        ({"file": ".hidden"}, "at.file: expected the name of a file"),
        ({"digest": "0" * 63}, "at.digest: expected 64 hexadecimal digits"),
        ({"why": " "}, "at.why: expected a text that is not empty"),
        ({"class": "Infinity"}, "at.class: expected a number, found 'Infinity'"),
        ({"even": 3}, "at.even: expected an even number"),
        ({"known": "told"}, "at: unknown key `known`: expected parts, "),
        ({"figure": 1.0}, "at: unknown key `figure`"),
        ({"texts": ["a", "b"]}, "at: more texts than parts"),
        ({"why": "x" * 5000, "even": "y" * 5000}, "at.even: expected a whole number, found 'yyy"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(UnfitError) as caught:
        decode(Record, GOOD | wrong, "at")
    assert str(caught.value).startswith(told)
    assert len(str(caught.value)) < 300


def test_keys_that_mean_the_same_are_refused() -> None:
    kind = Mapping[Annotated[str, Via(str, str.lower)], int]
    assert decode(kind, {"A": 1, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(UnfitError, match="two keys mean the same"):
        decode(kind, {"A": 1, "a": 2})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is not JSON: Expecting value"),
        ('{"a": 1', "it is not JSON: "),
        ("[" * 100_000, "it is not JSON: it is nested too deeply"),
        ("NaN", "NaN is not JSON"),
        ('{"a": {"b": 1, "b": 2}}', "'b' stands twice in one object"),
        ("1" * 5000, "it is not JSON: "),
        (" " * 100, "it is larger than 0 MiB"),
    ],
)
def test_what_is_no_json_is_told(text: str, told: str) -> None:
    with pytest.raises(UnfitError) as caught:
        json_data(text, 99 if text.isspace() else 1 << 20)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("text", ["a = ", "a = 1\na = 2", "a = " + "[" * 5000, "\0"])
def test_what_is_no_toml_is_told(text: str) -> None:
    with pytest.raises(UnfitError, match=r"^it is not TOML: "):
        toml_data(text)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"version": 2}, "it is of version 2, this program reads version 3"),
        ({"version": True}, "it is of version True, this program reads version 3"),
        ({"version": "3" * 99}, f"it is of version {'3' * 20}, this program reads version 3"),
        ({}, "it has no version, this program reads version 3"),
        ([], "expected an object, found a list"),
    ],
)
def test_another_version_is_told_as_that(data: Any, told: str) -> None:
    assert require_version({"version": 3, "a": 1}, "version", 3) == {"a": 1}
    with pytest.raises(UnfitError) as caught:
        require_version(data, "version", 3)
    assert str(caught.value) == told


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(GOOD)), JSON)
def test_any_value_is_read_or_refused(key: str, value: Any) -> None:
    try:
        found = decode(Record, json_data(json.dumps(GOOD | {key: value})))
    except UnfitError as error:
        assert str(error)
    else:
        assert isinstance(found, Record)
