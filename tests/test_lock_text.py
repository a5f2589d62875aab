"""The lock's text: what is written reads back to the same facts and the same bits; anything else is refused."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.diag import Diagnostic, QdslError
from qdsl.lock import (
    DataFile,
    Lock,
    LockedAssignment,
    LockedChoice,
    LockedMeans,
    LockedOutcome,
    LockedRange,
    cpu_kind,
    parse,
    read,
    render,
    table_hashes,
    tool_versions,
)
from qdsl.lock.words import number, read_number

# Every text: quotes, control characters, letters of all scripts, halves of surrogate pairs (undecodable file names).
names = st.text(max_size=20)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
singles = st.floats(width=32, allow_nan=False, allow_infinity=False)
doubles = st.floats(allow_nan=False, allow_infinity=False)
values = st.one_of(singles, doubles)
counts = st.integers(0, 10**12 - 1)


def named(strategy: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.dictionaries(names, strategy, max_size=3).map(lambda found: tuple(sorted(found.items())))


def files(found: dict[tuple[str, str], tuple[int, str]]) -> tuple[DataFile, ...]:
    return tuple(sorted(DataFile(*key, *rest) for key, rest in found.items()))


def ranges(found: dict[str, tuple[list[float], str]]) -> tuple[LockedRange, ...]:
    return tuple(sorted(LockedRange(name, *sorted(ends), how) for name, (ends, how) in found.items()))


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
means = st.builds(LockedMeans, names, names, st.lists(numbers, min_size=1, max_size=5).map(tuple))
given_types = st.builds(LockedAssignment, names, names, names)
outcomes = st.builds(LockedOutcome, names, names)
choices = st.builds(LockedChoice, names, names, names, st.booleans(), names)


def ordered(found: list[LockedChoice]) -> tuple[LockedChoice, ...]:
    return tuple(sorted(found))


@st.composite
def locks(draw: st.DrawFn) -> Lock:
    ends = st.lists(values, min_size=2, max_size=2)
    found = ranges(draw(st.dictionaries(names, st.tuples(ends, names), max_size=4)))
    return Lock(
        recipe=draw(named(hashes)),
        model=draw(named(hashes)),
        capability=draw(named(hashes)),
        tools=draw(named(names)),
        cpu=draw(named(names)),
        data=files(draw(st.dictionaries(st.tuples(names, names), st.tuples(counts, hashes), max_size=4))),
        samples=draw(counts) if found else 0,
        settled=draw(counts) if found else 0,
        ranges=found,
        tuned=draw(st.lists(choices, max_size=3, unique_by=lambda c: (c.target, c.alternative, c.node)).map(ordered)),
        assigned=draw(st.lists(given_types, max_size=3, unique_by=lambda a: (a.target, a.node)).map(sorted).map(tuple)),
        allocated=draw(st.lists(outcomes, max_size=2, unique_by=lambda o: o.target).map(sorted).map(tuple)),
        means=draw(st.lists(means, max_size=3, unique_by=lambda m: m.tensor).map(lambda found: tuple(sorted(found)))),
    )


def _reads_back(lock: Lock) -> None:
    text = render(lock)
    found = parse(text)
    assert found == lock
    assert [struct.pack("<dd", r.low, r.high) for r in found.ranges] == [
        struct.pack("<dd", r.low, r.high) for r in lock.ranges
    ]
    assert parse(text.replace("\n", "\r\n")) == lock
    assert all(line.isprintable() for line in text.split("\n"))


test_what_is_written_reads_back = settings(max_examples=40)(given(locks())(_reads_back))
test_what_is_written_of_many_locks_reads_back = pytest.mark.slow(
    settings(max_examples=250)(given(locks())(_reads_back))
)


@given(singles)
def test_a_float32_is_written_as_one(value: float) -> None:
    text = number(value)
    assert not text.endswith("d")
    assert len(text) <= len("-1.23456789e-38")
    assert struct.pack("<d", read_number(text)) == struct.pack("<d", value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6.0, "6"),
        (-0.0, "-0"),
        (struct.unpack("<f", struct.pack("<f", 0.1))[0], "0.1"),
        (0.1, "0.1d"),
        (3.4028234663852886e38, "3.4028235e+38"),
        (1e300, "1e+300d"),
        (2.0**-149, "1e-45"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
    assert read_number(text) == value


LOCK = Lock(
    recipe=(("data calib", "1" * 64), ("model", "2" * 64)),
    model=(("demo.onnx", "3" * 64),),
    capability=(("ort_cpu", "4" * 64),),
    tools=(("numpy", "2.4.6"),),
    cpu=(("arch", "x86_64"), ("isa", "avx2")),
    data=(DataFile("calib", "a.jpg", 1, "5" * 64), DataFile("calib", "b.jpg", 3, "6" * 64)),
    samples=4,
    settled=2,
    ranges=(LockedRange("c", -1.5, 2.25, "minmax on calib"), LockedRange("x", 0.0, 255.0, "minmax on calib")),
    tuned=(
        LockedChoice("ort", "common_scale", "/a/Concat", True, "every range keeps 93 % of its steps"),
        LockedChoice("ort", "stem_float", "/a/Conv", False, "0.82x [0.80, 0.84], 14.2 to 17.3 ms, 15 blocks, 1 thread"),
    ),
    means=(LockedMeans("x", "calib", (0.5, -1.25, 0.0625)),),
)


def test_a_lock_reads_as_its_golden(golden: Callable[[str, str], None]) -> None:
    golden("lock/small.lock", render(LOCK))


def test_another_order_of_facts_gives_the_same_bytes() -> None:
    turned = replace(LOCK, ranges=LOCK.ranges[::-1], data=LOCK.data[::-1], recipe=LOCK.recipe[::-1])
    assert render(turned) == render(LOCK)


def refused(text: str) -> Diagnostic:
    with pytest.raises(QdslError) as caught:
        parse(text, "demo.lock")
    (found,) = caught.value.diagnostics
    assert found.code == "lock-invalid"
    return found


def summed(body: str) -> str:
    """With a last line that agrees with what stands before it."""
    body = body.rpartition("sum ")[0] if "\nsum " in body else body
    return f"{body}sum {hashlib.sha256(body.encode()).hexdigest()}\n"


def line_of(text: str, start: str) -> int:
    return next(at for at, line in enumerate(text.split("\n"), start=1) if line.startswith(start))


# What is done to the text, the start of the line that is named (in the text as given), and a word of why.
DAMAGE: dict[str, tuple[str, str, str, str]] = {
    "a number": ("255", "256", "sum", "edited"),
    "a hash": ("5" * 64, "7" * 64, "sum", "edited"),
    "a short hash": ("5" * 64, "5" * 63, "data", "64 hexadecimal"),
    "no number": ("255", "inf", 'range "x"', "finite"),
    "not a number": ("255", "nan", 'range "x"', "finite"),
    "too large": ("255", "1e999", 'range "x"', "finite"),
    "too large for float32": ("255", "1e39", 'range "x"', "finite"),
    "an inner space": ("255 ", "255  ", 'range "x"', "one space"),
    "a range upside down": ("-1.5 2.25", "2.25 -1.5", 'range "c"', "ends before"),
    "a name without quotes": ('"c"', "c", "range c", "quotes"),
    "a broken name": ('"c"', '"\\c"', "range", "quotes"),
    "a value too few": (" 3 ", " ", 'data "calib" "b.jpg"', "4 values"),
    "an unknown word": ("samples", "simples", "simples", "begins no line"),
    "a negative count": (" 3 ", " -3 ", 'data "calib" "b.jpg"', "count"),
    "another version": ("qdsl-lock 1", "qdsl-lock 2", "qdsl-lock", "another version"),
    "another file": ("qdsl-lock 1", "recipe demo", "recipe demo", "no lock"),
    "a conflict": ("samples 4 2\n", "<<<<<<< ours\nsamples 4 2\n=======\n", "<<<<<<<", "merge"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_with_its_line(damage: str) -> None:
    old, new, at, why = DAMAGE[damage]
    assert old in render(LOCK)
    text = render(LOCK).replace(old, new, 1)
    found = refused(text)
    assert found.span is not None
    assert found.span.line == line_of(text, at)
    assert why in found.label


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("255", "255.0"),  # two spellings of one number
        ('tool "numpy" "2.4.6"\n', 'tool "numpy" "2.4.6"\n' * 2),
        ('"arch"', '"\\u0061rch"'),
        ("# What", "# what"),
        ('cpu "arch" "x86_64"\ncpu "isa" "avx2"\n', 'cpu "isa" "avx2"\ncpu "arch" "x86_64"\n'),
    ],
)
def test_only_one_spelling_is_a_lock(old: str, new: str) -> None:
    assert old in render(LOCK)
    assert "not as qdsl writes it" in refused(summed(render(LOCK).replace(old, new, 1))).label


def test_a_lock_cut_anywhere_is_refused() -> None:
    text = render(LOCK)
    for end in range(len(text)):
        refused(text[:end])


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(render(LOCK)) - 1), st.characters())
def test_one_other_character_is_refused(at: int, character: str) -> None:
    text = render(LOCK)
    if text[at] != character and (text[at], character) != ("\n", "\r"):
        refused(text[:at] + character + text[at + 1 :])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_refused_in_words(text: str) -> None:
    refused(text)
    refused(summed(f"qdsl-lock 1\n# What\n{text}\n"))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"qdsl-lock 1\n\xff\n", "UTF-8"),
        (b"qdsl-lock 1\n" + b"x" * 300_000, "too long"),
        (b"\n" * 2_000_000, "too many"),
    ],
)
def test_files_that_are_no_text_of_ours(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "demo.lock").write_bytes(data)
    with pytest.raises(QdslError) as caught:
        read(tmp_path / "demo.lock")
    assert why in caught.value.diagnostics[0].label


def test_no_file_is_no_lock_and_a_folder_is_no_file(tmp_path: Path) -> None:
    assert read(tmp_path / "demo.lock") is None
    with pytest.raises(QdslError, match="not a usable lock"):
        read(tmp_path)


def test_a_sparse_giant_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "demo.lock").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(QdslError) as caught:
        read(tmp_path / "demo.lock")
    assert "larger than 64 MiB" in caught.value.diagnostics[0].label


# ---- the machine -----------------------------------------------------------------------------------------------------

X86 = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model name\t: AMD EPYC 7003 serial 12345
flags\t\t: fpu avx2 sse avx512_vnni fma
\nprocessor\t: 1
vendor_id\t: other
"""
ARM = """processor\t: 0
Features\t: fp asimd evtstrm asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0b
"""


def kind(text: str, folder: Path) -> dict[str, str]:
    (folder / "cpuinfo").write_text(text, encoding="utf-8")
    return {key: value for key, value in cpu_kind(folder / "cpuinfo") if key != "arch"}


def test_a_cpu_is_a_kind_not_a_machine(tmp_path: Path) -> None:
    assert kind(X86, tmp_path) == {"vendor": "AuthenticAMD", "family": "25", "isa": "fma avx2 avx512_vnni"}
    assert kind(ARM, tmp_path) == {"vendor": "0x41", "family": "0xd0b", "isa": "asimd asimddp"}
    assert kind("", tmp_path) == {"isa": "unknown"}
    assert dict(cpu_kind(tmp_path / "nothing"))["isa"] == "unknown"


def test_tools_and_tables_are_those_installed() -> None:
    import numpy
    import onnxruntime

    import qdsl

    tools = dict(tool_versions())
    assert (tools["numpy"], tools["onnxruntime"]) == (numpy.__version__, onnxruntime.__version__)
    assert tools["qdsl"] == qdsl.__version__
    table = Path(qdsl.__file__).parent / "capability" / "ort_cpu.toml"
    assert table_hashes(["ort_cpu"]) == (("ort_cpu", hashlib.sha256(table.read_bytes()).hexdigest()),)
