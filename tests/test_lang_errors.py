"""What is said about faulty recipes: goldens that a person can read, every code's example, hostile input."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from bad_setups import build
from seeds import few_of

from qdsl.diag import QdslError, render_all
from qdsl.diag.codes.lang import CODES
from qdsl.lang import format_text, load, loads, missing_files, require_complete
from qdsl.lang.parse import parse
from qdsl.lang.tokens import DEEPEST, MOST_ERRORS
from qdsl.lang.vocabulary import METRICS
from tests.test_lang_parse import codes

CALIB = 'data calib from images "*.jpg"\n'

# One golden each: tests/goldens/lang/NAME.txt.
CASES: dict[str, str] = {
    "unknown_keyword": "quantise static { weights int8 }\nlayers op Conv { wieghts int8 }\n",
    "unknown_keyword_in_a_block": "target ort {\n  kep op Resize in float16\n  requre size <= 3 MiB\n}\n",
    "unknown_unit": "target ort {\n  require size <= 3 MiBs\n  require latency <= 3 sec\n}\n",
    "unit_does_not_fit": "target ort {\n  require size <= 3 ms\n  require latency <= 3\n  require size drop <= 3\n}\n",
    "a_share_over_all": CALIB
    + "evaluate classification on calib { require top1 >= 95; require top5 > 100 %; require recall == 1.5 }\n"
    + "target ort { require integer_share >= 95 }\n",
    "drop_needs_points": CALIB + "evaluate detection on calib { require map50 drop <= 1 }\n",
    "unknown_metric": CALIB + "evaluate detection on calib { measure map50_59, recal, top1 }\n",
    "unknown_data": CALIB + "quantize static { calibrate minmax on clib }\nevaluate fidelity on vall\n",
    "unknown_target": "target tensor_rt\n",
    "unknown_mode": "quantize statc\n",
    "unknown_setting": "input { resise 640 letterbox; scale 1/255 }\n",
    "unknown_selector": "select heads = decode_head\nkeep head in float32\nkeep Conv, kernel in float32\n",
    "unknown_type": "layers all { weights in8; activations int9 }\n",
    "value_of_a_setting": "input { resize -3 letterbox; rescale fast; mean 0.5 }\n"
    + CALIB.rstrip()
    + " { take 1.5 }\n",
    "too_little": "input { resize 640; rescale }\nquantize static { calibrate percentile; weights }\n",
    "twice": 'model onnx "a"\nmodel onnx "b"\nquantize static { weights int8; weights int4 }\n'
    "target ort { require size <= 1 MB; require size <= 2 MB; threads 1; threads 2 }\n",
    "two_settings_on_one_line": "input {\n  resize 640 letterbox rescale 1/255\n}\ntarget ort { threads 4 io int8 }\n",
    "two_statements_on_one_line": "keep all in float32 keep silu in float16\n",
    "expect": 'keep all expect "3" in float32\nkeep all expect in float32\nkeep all expect 2.5 in float32\n'
    "keep first -1 of all in float32\n",
    "param_outside_its_list": "param bits = int2 from [int8, int4]\nlayers all { weights $bit }\n",
    "brace_on_its_own_line": "quantize static\n{\n  weights int8\n}\n",
    "brace_not_closed": "quantize static {\n  weights int8\n\nkeep all in float31\nlayers silu {\n  weights int8\n",
    "brace_closes_nothing": "quantize static { weights int8 }\n}\nkeep all in float31\n",
    "bracket_not_closed": "keep op [Conv, Gemm in float32\nlayers (all or silu { weights int8 }\nkeep all in float31\n",
    "bracket_closes_nothing": "keep op Conv] in float32\nkeep all) in float31\n",
    "nested_too_deep": "keep " + "(" * 80 + "all" + ")" * 80 + " in float32\nkeep all in float31\n",
    "not_too_deep": "keep " + "not " * 300 + "all in float32\n",
    "between_too_deep": "keep " + "between all and " * 300 + "all in float32\n",
    "text_not_closed": 'model onnx "model.onnx\nkeep under "/a in float32\nkeep all in float31\n',
    "escapes": 'model onnx "models\\yolo.onnx"\n',
    "signs": "recipe my-model\nmodel onnx 'm.onnx'\nkeep /head/* in float32\nkeep caf\u00e9 in float32\n// note\n",
    "numbers": "target tensorrt { version 10.3.1 }\ninput { rescale .5 }\nlayers all { range [0, 1e999] }\n",
    "fraction_without_a_number": "input { rescale 1/0.0 }\ninput { rescale 1/-255 }\n",
    "version_is_a_text": "target tensorrt { version 10.3 }\n",
    "regex": (
        'keep matching "layer[" in float32\n'
        'keep matching "\\\\.(?!act)" in float32\n'
        'param which = "(a"\n'
        "keep matching $which in float32\n"
    ),
    "scheme": "quantize static { weights int8 per_channel per_tensor; activations float16 symmetric }\n"
    "layers all { weights 1 bit; activations int8 simetric }\n",
    "place": 'place { leave op Conv; quantize input of all; share scale across all; quantize tensor "a" }\n',
    "keep_in_integers": "keep all in int8\n",
    "select_cycle": "select a = b\nselect b = c or all\nselect c = not a\nselect silu = all\n",
    "sequence": 'keep op Conv in\nlayers { weights int8 }\nquantize\ndata calib yolo "x"\nplace { leave op Conv -> }\n',
    "many_at_once": "layrs all { weights int8 }\nkeep all in float31\nquantize statik\ntarget or { thread 4 }\n",
    "calibrate": CALIB
    + "quantize static { calibrate percentile 5 on calib }\nlayers all { calibrate minmax symmetric }\n"
    "layers silu { calibrate entropy on }\nlayers gelu { calibrate entropy on calib now }\n",
    "conditions": 'keep channels < 3 in float32\nkeep kernel < [1, 1] in float32\nkeep groups == "a" in float32\n',
    "opposite_data": 'data d from folder "x" { balance classes; oversample "a" 2 }\n',
    "extends_too_low": 'target ort\nextends "nowhere.q"\n',
}


def raised(text: str) -> str:
    """Every diagnostic of a text, rendered."""
    with pytest.raises(QdslError) as found:
        loads(text, name="recipe.txt")
    return render_all(found.value.diagnostics, {"recipe.txt": text})


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"lang/{name}.txt", raised(CASES[name]))


def test_every_golden_has_its_case() -> None:
    stored = {path.stem for path in (Path(__file__).parent / "goldens" / "lang").glob("*.txt")}
    assert stored == set(CASES)


@pytest.mark.parametrize("code", [code for code, doc in CODES.items() if doc.verb == "check"])
def test_example_raises_its_code(code: str, tmp_path: Path) -> None:
    doc = CODES[code]
    build(doc.setup, tmp_path)
    path = tmp_path / "example.q"
    path.write_text(doc.example, encoding="utf-8")
    with pytest.raises(QdslError) as found:
        load(path)
    assert [d.code for d in found.value.diagnostics] == [code]
    assert all(d.span is not None for d in found.value.diagnostics)


def test_example_of_incomplete() -> None:
    with pytest.raises(QdslError) as found:
        require_complete(loads(CODES["incomplete"].example).recipe)
    assert {d.code for d in found.value.diagnostics} == {"incomplete"}


# files


def test_the_recipe_itself_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.q").write_bytes(b"recipe bad\n\xff\n")
    (tmp_path / "big.q").write_bytes(b"#" * ((1 << 20) + 1))
    for name, code in [("no.q", "file-missing"), (".", "file-unreadable"), ("a\0b", "file-missing")]:
        with pytest.raises(QdslError, match=code):
            load(tmp_path / name)
    with pytest.raises(QdslError, match="file-encoding") as found:
        load(tmp_path / "bad.q")
    assert found.value.diagnostics[0].span is not None and found.value.diagnostics[0].span.line == 2
    with pytest.raises(QdslError, match="file-too-large"):
        load(tmp_path / "big.q")
    with pytest.raises(QdslError, match="file-too-large"):
        loads("#" * ((1 << 20) + 1))


def test_a_missing_recipe_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "yolov8n_static.q").write_text("")
    with pytest.raises(QdslError) as found:
        load(tmp_path / "yolov8_static.q")
    assert "yolov8n_static.q" in found.value.diagnostics[0].help[0]


def test_files_that_a_recipe_names(tmp_path: Path) -> None:
    text = """
    model onnx "yolo.onnx"
    data a from images ["here/*.jpg", "there/*.jpg"]
    data b from yolo "here/people.yml"
    passes { use "my.rule" before emit }
    target ort { passes { use "his.rule" before emit } }
    """
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "people.yaml").write_text("")
    (tmp_path / "yolov8.onnx").write_text("")
    found = missing_files(loads(text, directory=tmp_path).recipe)
    assert {d.code for d in found} == {"file-missing", "model-missing"}
    said = [(d.headline.split("`")[1].removeprefix(str(tmp_path)), "".join(d.help)) for d in found]
    assert [name for name, _ in said] == ["/yolo.onnx", "/there", "/here/people.yml", "/my.rule", "/his.rule"]
    assert "yolov8.onnx" in said[0][1] and "here" in said[1][1] and "people.yaml" in said[2][1]


def test_a_model_that_is_a_python_factory_is_no_file() -> None:
    assert missing_files(loads('model torch "package.module:factory"').recipe) == ()


def test_extends_cycles(tmp_path: Path) -> None:
    (tmp_path / "a.q").write_text('recipe a\nextends "b.q"\nkeep all in float31\n')
    (tmp_path / "b.q").write_text(f'recipe b\nextends "../{tmp_path.name}/a.q"\n')
    with pytest.raises(QdslError) as found:
        load(tmp_path / "a.q")
    assert [d.code for d in found.value.diagnostics] == ["unknown-type", "extends-cycle"]


def test_the_name_of_a_recipe_is_its_files(tmp_path: Path) -> None:
    (tmp_path / "one.q").write_text("recipe two\n")
    (tmp_path / "main.q").write_text('recipe main\nextends "one.q"\n')
    with pytest.raises(QdslError, match="name-mismatch"):
        load(tmp_path / "main.q")


# hostile input


@cache
def hostile(part: int) -> dict[str, str]:
    """Texts that are long, each a `part` of what is still read."""
    return {
        "one long word": "a" * (1_000_000 // part),
        "one long name": "keep " + "a" * (1_000_000 // part) + " in float32",
        "one long text": 'model onnx "' + "a" * (1_000_000 // part) + '"',
        "one long open text": 'model onnx "' + "a" * (1_000_000 // part),
        "one long number": "input { rescale " + "9" * (1_000_000 // part) + " }",
        "one long list": "input { shape [" + "1," * (20_000 // part) + "1] }",
        "many words": "quantize static { weights " + "int8 " * (45_000 // part) + "}",
        "many errors": "zzz\n" * (22_500 // part),
        "many bad signs": "~ " * (45_000 // part),
        "many quotes": '" ' * (45_000 // part),
        "too many words": "a\n" * 400_000,
        "many escapes": '"' + "\\q" * (200_000 // part) + '"',
        "many braces": "{" * (45_000 // part),
        "many closing braces": "}" * (45_000 // part),
        "many brackets": "keep " + "(" * (45_000 // part),
        "many lines": "\n" * (45_000 // part),
        "many semicolons": ";" * (45_000 // part),
        "many lines, then a brace": "quantize static" + "\n" * (45_000 // part) + "{",
        "many settings": "quantize static {\n" + "weights int8\n" * (15_000 // part) + "}",
        "many unknown settings": "quantize static {\n" + "weigths int8\n" * (15_000 // part) + "}",
        "many errors in one block": "target ort {\n" + "keep all as float32\n" * (7_500 // part) + "}",
        "many conjunctions": "keep " + "all and " * (22_500 // part) + "all in float32",
        "many nots": "keep " + "not " * (45_000 // part) + "all in float32",
        "not and between": "keep " + "between not not all and " * (7_500 // part) + "all in float32",
        "between with brackets": "keep " + "between (all, all) and " * (6_000 // part) + "all in float32",
        "between over lines": "keep " + "between all and\n" * (10_000 // part) + "all in float32",
        "nested lists": "param a = " + "[" * (22_500 // part) + "]" * (22_500 // part),
        "nested blocks": "target ort {" * (11_000 // part) + "}" * (11_000 // part),
        "NUL": "recipe a\0b\nkeep all\0 in float32\0",
        "controls": "".join(map(chr, range(32))) * 100 + "\x7f\x9b\u202e\u2028",
        "carriage returns": "recipe text\rkeep all in float31\r",
        "surrogates": "keep all in float32 # \ud800\nkeep \udfff in float32",
        "other digits": "input { rescale \u0661\u0662 }",
        "regex that nests": 'keep matching "' + "(" * 5000 + ")" * 5000 + '" in float32',
        "regex that overflows": 'keep matching "a{99999999999999999999}" in float32',
    }


HOSTILE = hostile(4)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("part", few_of([4, 1], 1))
def test_hostile_text_gives_diagnostics(name: str, part: int) -> None:
    text = hostile(part)[name]
    try:
        found: tuple[str, ...] = tuple(d.code for d in loads(text).diagnostics)
    except QdslError as wrong:
        found = tuple(d.code for d in wrong.diagnostics)
        assert render_all(wrong.diagnostics, {"<text>": text})
    assert len(found) <= 4 * MOST_ERRORS
    assert set(found) <= set(CODES)


def test_of_many_syntax_errors_the_first_are_told_and_the_others_counted() -> None:
    with pytest.raises(QdslError) as found:
        loads("}\n" * (MOST_ERRORS + 1237))
    told = found.value.diagnostics
    assert [d.code for d in told] == ["unbalanced"] * MOST_ERRORS
    assert told[-1].notes == ("and 1,237 more errors",)
    assert not any(d.notes for d in told[:-1])


def test_of_many_errors_of_meaning_the_first_are_told_and_the_others_counted() -> None:
    with pytest.raises(QdslError) as found:
        loads("quantize static {\n" + "weigths int8\n" * 1000 + "}")
    told = found.value.diagnostics
    assert len(told) == 200
    assert told[-1].notes == ("and 800 more errors",)


@pytest.mark.parametrize("unit", ["$", "~ ", ". ", ".a", "-a", "éa", "1/", '"" ', "a ", "(", "}", "x;", "[1,"])
def test_a_long_line_costs_no_more_per_character_than_a_short_one(unit: str) -> None:
    def cost(size: int) -> float:
        text = "recipe f\n" + unit * (size // len(unit))
        taken = []
        for _ in range(2):
            start = time.process_time()
            with pytest.raises(QdslError) as found:
                loads(text)
            render_all(found.value.diagnostics, {"<text>": text})
            taken.append(time.process_time() - start)
        return min(taken)

    short, long = cost(1_000), cost(16_000)
    # Sixteen times the text: 16 where time is linear, 256 where it is quadratic.
    assert long < 64 * max(short, 0.001)


@pytest.mark.parametrize(
    ("text", "code", "width"),
    [
        ("$$$f", "bad-character", 2),
        ("$$$", "bad-character", 3),
        ("é€", "bad-character", 2),
        ("..5x", "bad-number", 4),
        ("-.5", "bad-number", 3),
        ("....", "bad-character", 4),
        ('"open\r', "unclosed-text", 5),
    ],
)
def test_a_piece_that_is_no_token_is_told_as_one(text: str, code: str, width: int) -> None:
    with pytest.raises(QdslError) as found:
        loads(f"recipe {text}\n")
    first = found.value.diagnostics[0]
    assert first.code == code
    assert first.span is not None and (first.span.column, first.span.end_column) == (8, 8 + width)


@pytest.mark.parametrize(
    "name", ["NUL", "many braces", "carriage returns", "one long text", "nested lists", "many lines"]
)
def test_hostile_text_is_formatted_or_refused(name: str) -> None:
    try:
        made = format_text(HOSTILE[name], "f.q")
    except QdslError as wrong:
        assert wrong.diagnostics
        return
    assert format_text(made, "f.q") == made


def test_the_deepest_recipe_is_read() -> None:
    text = "keep " + "(" * DEEPEST + "all" + ")" * DEEPEST + " in float32"
    assert codes(text) == []
    assert codes(text.replace("((", "(((", 1).replace("))", ")))", 1)) == ["nested-too-deep"]
    assert codes("keep " + "not " * DEEPEST + "all in float32") == []
    assert format_text(text, "f.q") == text + "\n"


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bom.q"
    path.write_bytes("\ufeffrecipe bom\r\nkeep op [Conv,\r\n Gemm] in float32 # why\r\n".encode())
    recipe = load(path).recipe
    assert len(recipe.rules) == 1 and recipe.span.column == 1


def test_one_fault_gives_one_message() -> None:
    good = (Path(__file__).parent / "lang" / "everything.q").read_text(encoding="utf-8")
    for at, closer in enumerate(good):
        if closer == "}" and good[at - 1] == "\n":
            found = parse(good[:at] + good[at + 1 :], "f").diagnostics
            assert [d.code for d in found] == ["unbalanced"], good[at - 30 : at]


MEASURED = 'data d from images "*.jpg"\nevaluate {task} on d {{ {body} }}\n'
ONE_FIGURE = {
    "two classes": ("classification", 'measure f1 "cat" "person"', 'f1 "cat", f1 "person"'),
    "one class twice": ("classification", 'measure f1 "person" "person"', '`f1 "person"`'),
    "two classes bounded": ("detection", 'require map50 "a" "b" >= 0.5', 'map50 "a", map50 "b"'),
    "two outputs": ("fidelity", 'require sqnr "y" "z" drop <= 1 dB', 'sqnr "y", sqnr "z"'),
    "two quantiles": ("fidelity", "require latency p50 p99 <= 3 ms", "latency p50, latency p99"),
    "twice the same word": ("fidelity", "require qdq survives survives", "qdq survives"),
    "two quantiles profiled": ("fidelity", "profile latency p50 p90", "latency p50, latency p90"),
    "no class": ("segmentation", "measure iou", "miou"),
    "no class bounded": ("segmentation", "require iou drop <= 1 pp", "miou"),
    "a cost measured": ("fidelity", "measure latency", "profile latency"),
    "a score profiled": ("classification", "profile top1", "measure top1"),
}


@pytest.mark.parametrize("name", ONE_FIGURE)
def test_a_metric_with_the_wrong_words_is_told_at_its_place(name: str) -> None:
    task, body, cure = ONE_FIGURE[name]
    with pytest.raises(QdslError) as caught:
        loads(MEASURED.format(task=task, body=body))
    (found,) = caught.value.diagnostics
    assert found.code == "wrong-metric" and found.span is not None and found.span.line == 2
    assert cure in found.help[0]


def test_every_metric_of_a_task_can_be_measured() -> None:
    """With the words that its row of the table allows: a class or an output where it has to name one, else none."""
    for row in METRICS:
        for task in row.tasks:
            words = f'{row.name} "a"' if row.whole else row.name
            loads(MEASURED.format(task=task, body=f"measure {words}"))
