"""A calibration cache of TensorRT as text: what its lines say, and what is told of a file that is none."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdsl.calibrate.cache_file import LARGEST, holds, is_unnamed, parse_cache, read_cache, render_cache
from qdsl.diag import Diagnostic, QdslError

HEADER = "TRT-8600-EntropyCalibration2"


def told(content: str | bytes, name: str = "calib.cache") -> tuple[Diagnostic, ...]:
    """What is told of a text that is no cache."""
    with pytest.raises(QdslError) as caught:
        parse_cache(content.encode() if isinstance(content, str) else content, name)
    assert {found.code for found in caught.value.diagnostics} == {"calibration-cache"}
    return caught.value.diagnostics


@pytest.mark.parametrize(
    ("bits", "scale", "amax"),
    [("3f800000", 1.0, 127.0), ("3c010204", 1 / 127, 1.0), ("3d418306", 6 / 127, 6.0), ("4000890a", 2.00836, 255.06)],
)
def test_the_number_of_a_line_is_a_scale_with_its_first_byte_first(bits: str, scale: float, amax: float) -> None:
    cache = parse_cache(f"{HEADER}\nx: {bits}\n".encode(), "calib.cache")
    assert cache.scales["x"] == pytest.approx(scale, rel=3e-6)
    assert cache.amax("x") == pytest.approx(amax, rel=1e-4)


def test_a_name_ends_at_the_last_colon() -> None:
    cache = parse_cache(f"{HEADER}\nscope: block:0: 3f800000\n(Unnamed Layer* 3) [Shuffle]_output: 0\n".encode(), "c")
    assert dict(cache.scales) == {"scope: block:0": 1.0, "(Unnamed Layer* 3) [Shuffle]_output": 0.0}
    assert [is_unnamed(name) for name in cache.scales] == [False, True]


@pytest.mark.parametrize(("version", "release"), [("8203", "8.2.3"), ("8600", "8.6.0"), ("100300", "10.3.0")])
def test_the_header_says_which_release_wrote_it(version: str, release: str) -> None:
    assert parse_cache(f"TRT-{version}-MinMaxCalibration\nx: 3f800000\n".encode(), "c").release == release


def test_line_ends_of_windows_and_capitals_are_read() -> None:
    assert parse_cache(f"{HEADER}\r\nx: 3C010A14\r\n\r\n".encode(), "c").scales["x"] == pytest.approx(
        0.0078759, rel=1e-4
    )


_NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)
_SCALES = st.floats(2**-30, 2**20, width=32)


@given(st.dictionaries(_NAMES, _SCALES, min_size=1, max_size=8))
def test_what_is_written_is_read_back(scales: dict[str, float]) -> None:
    assert dict(parse_cache(render_cache("8600", scales).encode(), "c").scales) == scales


def test_a_name_that_no_line_holds_is_not_written() -> None:
    for name in ("two\nlines", "two\x85lines", "", "a\x00b", "x" * 4096):
        assert not holds(name)
        with pytest.raises(ValueError, match="holds the name"):
            render_cache("8600", {name: 1.0})


def test_the_longest_name_that_is_written_is_read_back() -> None:
    name = max((letters for count in range(4080, 4096) if holds(letters := "x" * count)), key=len)
    assert dict(parse_cache(render_cache("8600", {name: 1.0}).encode(), "c").scales) == {name: 1.0}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("", "it is no calibration cache"),
        ("\x7fELF", "it is no calibration cache"),
        ("TRT-8600-PercentileCalibration", "which is one of EntropyCalibration2"),
        ("TRT-8.6.1-EntropyCalibration2", "expected `TRT-<version>"),
        ("TRT-8600-EntropyCalibration2 x", "expected `TRT-<version>"),
    ],
)
def test_a_wrong_header_is_told(header: str, why: str) -> None:
    (found,) = told(f"{header}\nx: 3f800000\n")
    assert why in found.label and found.span is not None and found.span.line == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x 3f800000", "expected the name of a tensor"),
        (": 3f800000", "expected the name of a tensor"),
        ("x: 0x3f80", "expected the name of a tensor"),
        ("x: 3f8000001", "expected the name of a tensor"),
        ("x: ", "expected the name of a tensor"),
        ("x: 7fc00000", "this is nan"),
        ("x: 7f800000", "this is inf"),
        ("x: bf800000", "this is -1"),
        ("a: 3f800000", "`a` stands at line 2, too"),
        ("x\x1b[2J: 3f800000", "control character"),
        ("y" * 5000 + ": 3f800000", "more than 4096 characters"),
    ],
)
def test_a_line_that_does_not_fit_is_told_with_its_number(line: str, why: str) -> None:
    (found,) = told(f"{HEADER}\na: 3f800000\n{line}\nb: 3f800000\n")
    assert why in found.label and found.span is not None and (found.span.file, found.span.line) == ("calib.cache", 3)


def test_all_lines_at_fault_are_told_and_hundreds_are_counted() -> None:
    assert [found.span.line for found in told(f"{HEADER}\nx\nb: 3f800000\ny\n") if found.span] == [2, 4]
    many = told(HEADER + "\nx" * 300)
    assert len(many) == 10 and many[-1].notes == ("and 290 more errors",)


def test_other_bytes_and_no_tensors_are_told() -> None:
    assert "not UTF-8" in told(HEADER.encode() + b"\n\xff\xfe: 3f800000\n")[0].label
    assert "names no tensor" in told(HEADER)[0].label


def test_scales_with_their_last_byte_first_are_told_as_that() -> None:
    lines = [f"t{i}: {struct.pack('<f', (i + 1) / 500).hex()}" for i in range(20)]
    assert "wrong order" in told("\n".join([HEADER, *lines]))[0].label


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (lambda path: None, "data-missing"),
        (lambda path: path.mkdir(), "data-unreadable"),
        (lambda path: path.write_bytes(b"x" * (LARGEST + 1)), "data-size"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(made: Callable[[Path], object], code: str, tmp_path: Path) -> None:
    made(tmp_path / "calib.cache")
    with pytest.raises(QdslError) as caught:
        read_cache(tmp_path / "calib.cache", "calib.cache")
    assert [found.code for found in caught.value.diagnostics] == [code]
