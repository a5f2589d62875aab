"""First guesses of people who know other tools lead to the right word, shown as it is written here."""

from __future__ import annotations

import pytest

from qdsl.diag import Diagnostic, QdslError
from qdsl.diag.codes import cures
from qdsl.lang import loads
from qdsl.lang.examples import AROUND, STATEMENTS, elsewhere, example, measuring
from qdsl.lang.foreign import FIRST, WITHIN, Foreign
from qdsl.lang.parse import parse
from qdsl.lang.recipe import Recipe
from qdsl.lang.vocabulary import (
    FORMATS,
    METHODS,
    METRICS,
    MODES,
    NESTED,
    SCHEME_WORDS,
    SOURCES,
    TABLE,
    TARGETS,
    TASKS,
    TYPES,
    MetricRow,
    rows,
)

DATA = 'data calib from images "c.jpg"\ndata val from folder "v"\n'

# Where a word of each kind stands: `{}` is the word.
KINDS = {
    "format": 'model {} "m"\n',
    "source": 'data more from {} "x"\n',
    "method": "quantize static {{ calibrate {} on calib }}\n",
    "mode": "quantize {}\n",
    "target": "target {}\n",
    "task": "evaluate {} on val\n",
    "metric": "",
    "type": "layers all {{ weights {} }}\n",
    "scheme": "layers all {{ weights int8 {} }}\n",
    "resize": "input {{ resize 640 {} }}\n",
    "color": "input {{ color {} }}\n",
    "layout": "input {{ layout {} }}\n",
    "cpu": "target ort {{ cpu {} }}\n",
    "decode": "evaluate detection on val {{ decode {} }}\n",
    "selector": "keep {} in float32\n",
}
KNOWN = {
    "format": FORMATS,
    "source": SOURCES,
    "method": METHODS,
    "mode": MODES,
    "target": TARGETS,
    "task": TASKS,
    "type": TYPES,
    "scheme": SCHEME_WORDS,
    "metric": tuple(row.name for row in METRICS),
}
INSIDE = {**AROUND, "evaluate": "evaluate {task} on val {{{{ {{}} }}}}", "profile": AROUND["profile"]}


def found(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(QdslError) as raised:
        loads(text)
    return raised.value.diagnostics


def task_of(line: str) -> str:
    """A task under which a line of an `evaluate` block makes sense."""
    return "classification" if "accuracy" in line else "detection"


def around(block: str, line: str) -> str:
    if block == "recipe":
        return line
    return (INSIDE[block].format(task=task_of(line)) if block == "evaluate" else INSIDE[block]).format(line)


def without_twice(text: str) -> str:
    """The data that a line needs, unless it defines them itself."""
    return "".join(line + "\n" for line in DATA.splitlines() if line.split()[1] not in text.split()[:2]) + text


@pytest.mark.parametrize("row", FIRST, ids=lambda row: f"{row.where}-{row.words.split()[0]}")
def test_what_stands_for_a_foreign_first_word_parses_where_it_is_told_to_stand(row: Foreign) -> None:
    text = row.write if row.outside else around(row.where, row.write)
    if text.startswith("extends"):
        assert not parse(text, "recipe.q").diagnostics
        return
    loads(without_twice(text).replace("recipe detector", "recipe recipe"))


@pytest.mark.parametrize("row", FIRST, ids=lambda row: f"{row.where}-{row.words.split()[0]}")
def test_a_foreign_first_word_leads_there_and_the_block_is_listed(row: Foreign) -> None:
    known = {*rows(row.where), *NESTED.get(row.where, ())} if row.where != "recipe" else {*STATEMENTS} - _inner()
    for word in row.words.split():
        assert word not in known, f"`{word}` is a word of `{row.where}` by now"
        told = [d for d in found(without_twice(around(row.where, f"{word} 3"))) if d.code.startswith("unknown")]
        assert len(told) == 1 and f"`{_first(row, word).write}`" in told[0].help[0], (word, told)
        if row.where != "recipe":
            assert all(f"`{name}`" in told[0].help[-1] for name in known)


def _inner() -> set[str]:
    return {"measure", "require", "profile", "corrupt", "sensitivity"}


def _first(row: Foreign, word: str) -> Foreign:
    return next(r for r in (*FIRST, *WITHIN) if r.where == row.where and word in r.words.split())


@pytest.mark.parametrize("row", WITHIN, ids=lambda row: f"{row.where}-{row.words.split()[0]}")
def test_a_foreign_word_inside_a_statement_leads_to_the_one_that_parses(row: Foreign) -> None:
    line, metric = KINDS[row.where], next((m for m in METRICS if m.name == row.write), None)
    if row.where == "metric":
        assert metric is not None
        line = measuring(metric).replace("{", "{{").replace("}", "}}").replace(row.write, "{}") + "\n"
    loads(DATA + line.format(row.write))
    for word in row.words.split():
        assert word not in KNOWN.get(row.where, ()), f"`{word}` is a {row.where} by now"
        if not word.isidentifier():
            continue
        told = found(DATA + line.format(word))[0]
        assert told.help and f"`{_first(row, word).write}`" in told.help[0], (word, told)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.block}-{row.word}")
def test_every_word_has_an_example_that_parses(row: object) -> None:
    text = example(row)  # type: ignore[arg-type]
    loads(without_twice(text))


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_every_metric_has_an_example_that_parses(row: MetricRow) -> None:
    for line in (measuring(row), *elsewhere(row.name, "recipe")):
        loads(DATA + line)
    assert elsewhere("map50", "recipe") == ("evaluate detection on val { measure map50 }",)


@pytest.mark.parametrize("word", STATEMENTS)
def test_every_statement_has_an_example_that_parses(word: str) -> None:
    text = STATEMENTS[word].example
    if word == "extends":
        assert not parse(text, "recipe.q").diagnostics
    else:
        loads(without_twice(text).replace("recipe detector", "recipe recipe"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("profile latency { runs 3 }", "evaluate classification on val { profile latency { runs 200 } }"),
        ("require size <= 3 MiB", "target ort { require size <= 3.6 MiB }"),
        ("take 300", "take 300 seed 7"),
        ("confidence 0.2", "evaluate detection on val"),
        ("weights int8", "quantize static { weights int8 symmetric per_channel }"),
        ("data x from images 'a'", "double quotes"),
        ('data x from "a.jpg"', 'data calib from images "calib/*.jpg"'),
        ('model "m.onnx"', 'model onnx "model.onnx"'),
        ("input images { resize 640 letterbox }", 'input "images" {'),
        ("quantize { weights int8 }", "quantize static {"),
        ("evaluate classification", "evaluate classification on val"),
        ("keep op Conv", "keep op Softmax in float32"),
        ("input { normalize mean=[0.5] }", "mean [0.485, 0.456, 0.406]"),
        ("target ort { threads=4 }", "`threads VALUE`"),
        ("target ort { threads: 4 }", "side by side"),
        ("evaluate detection on val { measure map50-95 }", "`map50_95`"),
        ("evaluate detection on val { measure mAP50 }", "`map50`"),
        ("layers all { weights INT8 }", "`int8`"),
        ('input { color "RGB" }', "`rgb`"),
        ("quantize Static", "`static`"),
        ("allocate weights from [int8, int4] { budget 3 }", "`minimize`"),
        ("train qat on calib { confidence 3 }", "`confidence` stands elsewhere"),
        ("quantize static { num_threads 4 }", "write, outside this block, `target ort { threads 4 }`"),
        ("evaluate detection on val { imgsz 640 }", "write, outside this block, `input"),
        ("target ort { subset_size 300 }", 'write, outside this block, `data calib from folder "train" { take'),
        ("quantize static { entropy }", "write `calibrate entropy on calib`"),
        ("quantize static { percentile 99.9 }", "write `calibrate percentile 99.99 on calib`"),
        ("num_bins 3; conf_thres 0.2", "evaluate detection on val { confidence 0.001 }"),
        ("layers all { weights int8 per-channel }", "`per_channel`"),
        ("target ort { batch-size 4 }", "`batch_size`"),
        ("recipe my-first-net", "`my_first_net`"),
    ],
)
def test_a_first_guess_leads_to_the_right_form(line: str, told: str) -> None:
    assert any(told in cure for d in found(DATA + line + "\n") for cure in d.help), [d.help for d in found(DATA + line)]


def test_a_word_of_another_block_names_that_block() -> None:
    assert elsewhere("take", "input") == (
        'data calib from folder "train" { take 300 seed 7 }',
        "allocate weights from [int8, int4] { sensitivity sqnr on calib { take 8 } }",
    )
    assert elsewhere("nonsense", "input") == ()


# numbers and parameters


def recipe(text: str, **sets: str) -> Recipe:
    return loads(DATA + text, sets=sets).recipe


@pytest.mark.parametrize(
    ("written", "value"), [("1/255", 1 / 255), ("1/127.5", 2 / 255), ("0.5/2", 0.25), ("-1/127.5", -2 / 255)]
)
def test_a_quotient_of_plain_numbers_is_a_number(written: str, value: float) -> None:
    assert recipe(f"input {{ rescale {written} }}\n").inputs[0].steps[0].args == (value,)
    assert recipe(f"input {{ mean [{written}, 0] }}\n").inputs[0].steps[0].args == (value, 0)


@pytest.mark.parametrize("written", ["1/0.0", "1/-255", "1/127.5.2", "1/x"])
def test_what_is_no_quotient_is_an_error_at_its_place(written: str) -> None:
    told = found(f"input {{ rescale {written} }}\n")
    assert told and all(d.span is not None and d.span.line == 1 and cures(d) for d in told)


SEVERAL = "param how = percentile 99.99 from [percentile 99.99, minmax, percentile 99.9 symmetric]\n"
CALIBRATES = "quantize static { calibrate $how on calib }\n"


def test_a_parameter_holds_what_a_setting_takes() -> None:
    method = recipe(SEVERAL + CALIBRATES).mode
    assert method is not None and method.settings.calibrate is not None
    assert (method.settings.calibrate.method, method.settings.calibrate.percentile) == ("percentile", 99.99)
    other = recipe(SEVERAL + CALIBRATES, how="percentile 99.9 symmetric")
    assert other.mode is not None and other.mode.settings.calibrate is not None
    assert other.mode.settings.calibrate.symmetric
    assert other.params == (("how", "percentile 99.9 symmetric"),)
    assert other.choices == (("how", ("percentile 99.99", "minmax", "percentile 99.9 symmetric")),)


def test_several_values_stand_in_any_setting() -> None:
    sized = recipe("param size = 640 letterbox\nparam some = 300 seed 7\ninput { resize $size }\n")
    assert sized.inputs[0].steps[0].args == (640, 640, "letterbox")
    typed = recipe("param w = int8 symmetric per_channel\nlayers all { weights $w }\n")
    assert typed.rules[0].settings.weights.symmetric is True  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "use",
    ["keep all in $how", "target ort { require size <= $how }", "input { mean [$how] }", "keep op $how in float32"],
)
def test_where_one_value_belongs_several_are_an_error(use: str) -> None:
    told = found(DATA + SEVERAL + use + "\n")
    assert [d.code for d in told] == ["setting-value"] and "several" in told[0].headline


def test_a_list_without_commas_is_told_of_them() -> None:
    (told,) = found(DATA + "target ort { cpu x86_vnni arm }\n")
    assert told.help == ("several stand with commas between",)
