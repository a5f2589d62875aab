"""The canonical form: what it looks like, that it is stable, and that it never changes what a recipe says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdsl.diag import QdslError
from qdsl.lang import format_text
from qdsl.lang.parse import parse, tokenize
from qdsl.lang.tokens import Faults
from tests.test_lang_parse import AROUND, RECIPES, TABLE, sample


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_are_canonical(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert format_text(text, path.name) == text


UGLY = """


# head
recipe   a   # name
;;
extends "b.q"



input   "images"{resize 640    letterbox;rescale 1/255;}
data calib from yolo "p.yaml"{split train}
data v from yolo "p.yaml"   # eval
quantize static   {  # how


   weights int8 # w
  activations   uint8 affine

  # before the brace

}   # after
target ort{require size<=3.6MiB;require size drop<=50%}
layers   op[Conv ,Gemm,] and(all or not silu),
   # inside
   op Add{weights 8bit}
layers ["/a/long/name/of/a/node/Conv", "/another/long/name/of/a/node/Conv",
"/a/third/and/rather/longer/name/of/a/node/Conv"] { weights int8 }
layers "/a/long/name/of/a/node/Conv" { weights int8 symmetric per_channel; activations int8 symmetric per_tensor  } # x
layers "/a/long/name/of/a/node/Conv" expect 1{weights int8 symmetric per_channel;activations int8 symmetric per_tensor}
place{leave op Conv->op Relu;quantize inputs of all}
improve{
}
# the end"""

PRETTY = """# head
recipe a  # name
extends "b.q"

input "images" { resize 640 letterbox; rescale 1/255 }
data calib from yolo "p.yaml" { split train }
data v     from yolo "p.yaml"  # eval
quantize static {  # how
  weights     int8  # w
  activations uint8 affine

  # before the brace
}  # after
target ort { require size <= 3.6 MiB; require size drop <= 50 % }
layers op [Conv, Gemm] and (all or not silu),
    # inside
    op Add { weights 8 bit }
layers ["/a/long/name/of/a/node/Conv", "/another/long/name/of/a/node/Conv",
    "/a/third/and/rather/longer/name/of/a/node/Conv"] { weights int8 }
layers "/a/long/name/of/a/node/Conv" { weights int8 symmetric per_channel; activations int8 symmetric per_tensor }  # x
layers "/a/long/name/of/a/node/Conv" expect 1 {
  weights     int8 symmetric per_channel
  activations int8 symmetric per_tensor
}
place { leave op Conv -> op Relu; quantize inputs of all }
improve { }
# the end
"""


def test_canonical_form() -> None:
    assert format_text(UGLY, "a.q") == PRETTY
    assert format_text(PRETTY, "a.q") == PRETTY


@pytest.mark.parametrize(
    "text, made",
    [
        ("", ""),
        ("\n\n", ""),
        ("# only", "# only\n"),
        ("\ufeffkeep all in float32\r\n# c\r\n", "keep all in float32\n# c\n"),
        ("target ort {\n# a\n}", "target ort {\n  # a\n}\n"),
        ("target ort { # a\n}", "target ort {  # a\n}\n"),
        ("keep all # why\nin float32", None),
        ("keep op [ # one\nConv, # two\n# three\nGemm # four\n] in float32", None),
        ("improve { equalize; # a\nround adaptive }", "improve {\n  equalize  # a\n  round    adaptive\n}\n"),
        ("target ort { threads 2 } ; target stm32", "target ort { threads 2 }; target stm32\n"),
    ],
)
def test_corners(text: str, made: str | None) -> None:
    try:
        got = format_text(text, "a.q")
    except QdslError:
        assert parse(text.removeprefix("\ufeff"), "a.q").diagnostics
        assert made is None
        return
    assert made is None or got == made
    assert format_text(got, "a.q") == got
    assert [part.strip() for part in got.split("#")[1:]] == [] or got.count("#") == text.count("#")


def test_texts_with_errors_are_refused() -> None:
    with pytest.raises(QdslError, match="unfinished-statement"):
        format_text("keep all in\n", "a.q")


# Generated recipes: statements from these pieces, with any layout that means nothing between the words.

NAMES = st.sampled_from(["a", "calib", "first", "op", "weights", "x_1", "in", "recipe"])
TEXTS = st.sampled_from(['"a"', '"/x/*"', r'"q\"\\#no_comment"', '"{;}"', '""', '"\u00e9"'])
NUMBERS = st.sampled_from(["0", "-1", "3.5", "1e-3", "640"])
UNITS = st.sampled_from(["%", "pp", "MiB", "ms", "bit"])
COUNTS = st.one_of(NUMBERS, st.just("$n"))


def words(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    """Parts one after the other; a word starting with a mark is written as it is."""
    made = [st.just(part) if isinstance(part, str) else part for part in parts]
    return st.tuples(*made).map(" ".join)


def listed(item: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(item, min_size=1, max_size=3), st.booleans()).map(
        lambda found: "[ " + " , ".join(found[0]) + (" , ]" if found[1] else " ]")
    )


NUMBER = st.one_of(NUMBERS, words(NUMBERS, UNITS))
VALUE = st.recursive(
    st.one_of(NAMES, TEXTS, NUMBER, st.just("$n"), st.just("1/255")), lambda inner: listed(inner), max_leaves=4
)
PATTERN = st.one_of(TEXTS, st.just("$p"), listed(TEXTS))
LEAF = st.one_of(
    st.sampled_from(["all", "depthwise", "chosen"]),
    words("op", st.one_of(NAMES, listed(NAMES))),
    PATTERN.filter(lambda text: not text.startswith("$")),
    words("matching", TEXTS),
    words("under", PATTERN),
    words("tensor", PATTERN),
    words(st.just("out_channels"), st.sampled_from(["<", "==", ">="]), NUMBERS),
)


def pick(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        words("not", inner),
        words("(", inner, ",", inner, "expect", COUNTS, ")"),
        words("(", inner, "or", inner, ")"),
        words("(", "last", COUNTS, "of", inner, ")"),
        words("between", LEAF, "and", LEAF),
        words("(", inner, "and", inner, ")"),
    )


PICK = st.recursive(LEAF, pick, max_leaves=6)
PICKS = st.one_of(PICK, words(PICK, ",", "first", COUNTS, "of", PICK), words(PICK, "expect", COUNTS))
SETTING = st.lists(st.lists(VALUE, min_size=1, max_size=3).map(" ".join), max_size=3).flatmap(
    lambda groups: words("weights", st.just(" , ".join(groups))) if groups else st.just("equalize")
)


def block(item: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Items in braces; `\\v` marks where a statement ends."""
    return st.lists(item, max_size=4).map(lambda found: "{ \v " + " \v ".join(found) + (" \v }" if found else " }"))


METRIC = st.sampled_from(["size", "latency p50", 'f1 "a" drop', "qdq survives"])
REQUIRE = words("require", METRIC, "<=", NUMBER)
PLACING = st.one_of(
    words("quantize", st.sampled_from(["inputs", "skip"]), "of", PICKS),
    words("leave", PICK, "->", PICK),
    words("share", "scale", "across", PICKS),
)
STATEMENT = st.one_of(
    words("recipe", NAMES),
    words("extends", TEXTS),
    words("param", NAMES, "=", VALUE, "from", listed(NAMES)),
    words("model", NAMES, VALUE),
    words("input", TEXTS, block(SETTING)),
    words("data", NAMES, "from", NAMES, VALUE, block(SETTING)),
    words("data", NAMES),
    words("select", NAMES, "=", PICKS),
    words("quantize", NAMES, block(SETTING)),
    words("layers", PICKS, block(SETTING)),
    words("keep", PICKS, "in", NAMES),
    words("place", block(PLACING)),
    words("allocate", NAMES, "from", listed(NAMES), block(words("pin", PICKS, "to", NAMES))),
    words("train", NAMES, "on", NAMES, block(SETTING)),
    words("tune", NAMES, "on", NAMES, block(st.one_of(SETTING, REQUIRE))),
    words("target", NAMES, block(st.one_of(SETTING, REQUIRE, words("keep", PICKS, "in", NAMES)))),
    words("evaluate", NAMES, "on", NAMES, block(st.one_of(REQUIRE, words("measure", METRIC, ",", METRIC)))),
    words("passes", block(words("use", TEXTS, "before", NAMES))),
    words("allow", NAMES, "on", PICKS, "because", TEXTS),
)


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """A recipe whose layout is drawn: line ends, blank lines, comments, spaces."""
    text = " \v ".join(draw(st.lists(STATEMENT, max_size=6)))
    made: list[str] = []
    depth, before = 0, ""
    comments = 0
    for word in text.split(" "):
        if word == "\v":
            end = draw(st.sampled_from(["\n", "\n\n\n", " ; ", "\n# own {0} [\n", " # end {0} ;\n", "\r\n", ";;\n"]))
            comments += "{0}" in end
            made.append(end.replace("{0}", str(comments)))
        elif word:
            free = depth > 0 or before in (",", "and", "or")
            depth += (word in "([") - (word in ")]")
            space = draw(st.sampled_from([" ", "  ", "\t"] + (["\n", " # in ]\n ", "\n\n# own )\n"] if free else [])))
            made.append(space + word)
            before = word
    return "".join(made)


def test_statements_of_one_line_that_need_lines_are_aligned_at_once() -> None:
    text = "recipe a\nselect a = all\nselect calib = all; param w = 1 from [1, 2,  # few\n]\n"
    made = format_text(text, "a.q")
    assert "select a     = all\nselect calib = all\nparam w = 1" in made
    _kept(text)


def _kept(text: str) -> None:
    """Formatting is stable, and keeps what is said and every comment in order."""
    before = parse(text, "a.q")
    assert before.diagnostics == ()
    made = format_text(text, "a.q")
    after = parse(made, "a.q")
    assert after.diagnostics == ()
    assert after.tree == before.tree
    assert format_text(made, "a.q") == made
    assert all(line == line.rstrip() for line in made.split("\n"))
    assert _comments(made) == _comments(text)


def _comments(text: str) -> list[str]:
    """The comments of a text, in order."""
    full, _ = tokenize(text, Faults("a.q", []))
    return [tok.text.rstrip() for tok in full if tok.kind == "COMMENT"]


test_formatting_keeps_what_is_said = settings(max_examples=80)(given(recipes())(_kept))
test_formatting_keeps_what_is_said_in_many_recipes = pytest.mark.slow(
    settings(max_examples=600)(given(recipes())(_kept))
)


def test_every_setting_survives_formatting() -> None:
    for row in TABLE:
        text = AROUND[row.block].format(sample(row))
        assert parse(format_text(text, "a.q"), "b.q").tree == parse(text, "a.q").tree
