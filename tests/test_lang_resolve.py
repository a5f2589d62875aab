"""From statements to a recipe: types, merging of bases, parameters, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdsl.diag import QdslError
from qdsl.lang import load, loads
from qdsl.lang import recipe as made
from qdsl.lang import selectors as sel
from qdsl.spec import DTYPES, Granularity, Quantity
from tests.test_lang_parse import codes

HERE = Path(__file__).parent / "lang"


@pytest.fixture(scope="module")
def everything() -> made.Recipe:
    return load(HERE / "everything.q").recipe


@pytest.fixture(scope="module")
def member() -> made.Recipe:
    return load(HERE / "members" / "member.q").recipe


def test_input_steps_keep_their_order(everything: made.Recipe) -> None:
    (found,) = everything.inputs
    assert found.name is None
    assert [(s.name, s.args) for s in found.steps] == [
        ("resize", (224, 224, "crop")),
        ("crop", (224, 224)),
        ("mean", (0.485, 0.456, 0.406)),
        ("std", (0.229, 0.224, 0.225)),
        ("color", ("rgb",)),
        ("layout", ("nchw",)),
        ("shape", (1, 3, 224, 224)),
    ]


def test_data(everything: made.Recipe) -> None:
    rare, mixed, even = (everything.dataset(name) for name in ("rare", "mixed", "even"))
    assert (rare.take, rare.oversample) == ((2000, 3), (("crack", 10), ("particle", 10)))
    assert mixed.ratio == (("crack", 0.5), ("clean", 0.5))
    assert (even.balance, even.classes, even.split) == (True, ("crack", "clean"), "all")
    assert everything.dataset("val").written == ("lake/a", "lake/b*")
    raw = everything.dataset("raw")
    assert (raw.arrays, raw.label) == ((("x", "input"), ("y", "other")), "truth")
    assert raw.paths == (str(HERE / "raw/*.npz"),)


def test_schemes(everything: made.Recipe) -> None:
    assert everything.mode is not None
    weights = everything.mode.settings.weights
    assert weights is not None
    assert (weights.dtype, weights.bits, weights.symmetric, weights.granularity) == (None, 8, None, None)
    rules = [rule for rule in everything.rules if isinstance(rule, made.LayersRule)]
    blocked = rules[2].settings
    assert blocked.weights is not None and blocked.calibrate is not None
    assert (blocked.weights.dtype, blocked.weights.block) == (DTYPES["int4"], 32)
    assert (blocked.weights.granularity, blocked.weights.storage_only) == (Granularity.PER_BLOCK, True)
    assert (blocked.calibrate.percentile, blocked.calibrate.symmetric, blocked.calibrate.data) == (99.9, True, None)
    assert rules[5].settings.range == made.FixedRange(0, 6, rules[5].settings.range.span)  # type: ignore[union-attr]
    assert rules[6].settings.weights is not None and rules[6].settings.weights.dtype == DTYPES["int8"]


def test_selectors(everything: made.Recipe) -> None:
    rules = [rule for rule in everything.rules if isinstance(rule, made.LayersRule)]
    (both,) = rules[3].picks.parts
    assert isinstance(both, sel.AllOf)
    assert isinstance(both.parts[2], sel.Condition) and both.parts[2].value == (1, 1)
    assert rules[4].picks.expect == 6
    (between,) = rules[7].picks.parts
    assert isinstance(between, sel.Between)
    assert isinstance(between.start, sel.Op) and isinstance(between.end, sel.NameGlob)


def test_place(everything: made.Recipe) -> None:
    rules = [rule for rule in everything.rules if isinstance(rule, made.PlaceRule)]
    kinds = [(r.action, type(r.where).__name__, getattr(r.where, "name", "")) for r in rules]
    assert kinds == [
        ("quantize", "Port", "inputs"),
        ("quantize", "Port", "skip"),
        ("quantize", "Port", "outputs"),
        ("share", "Picks", ""),
        ("share", "Port", "inputs"),
        ("leave", "Edge", ""),
        ("leave", "Picks", ""),
        ("share", "Picks", ""),
        ("leave", "Edge", ""),
    ]
    assert isinstance(rules[-1].where, made.Edge) and rules[-1].where.expect == 1


def test_targets_hold_their_own_statements(everything: made.Recipe) -> None:
    ort, tensorrt, stm32 = everything.targets
    assert (ort.threads, ort.mode, ort.rules) == (None, None, ())
    assert (tensorrt.version, tensorrt.device) == ("10.3", "jetson-orin-nano")
    assert tensorrt.requires[0].form == "holds" and tensorrt.requires[0].metric.qualifiers == ("survives",)
    assert stm32.io == DTYPES["int8"] and stm32.mode is not None and stm32.mode.level == "target"
    assert [type(rule).__name__ for rule in stm32.rules] == ["LayersRule", "PlaceRule"]
    assert {rule.level for rule in stm32.rules} == {"target"}
    assert stm32.profile is not None and stm32.profile.settings == (("runs", 10), ("threads", 1))
    assert [use.stage for use in stm32.uses] == ["equalize"] and len(stm32.allows) == 1


def test_budgets(everything: made.Recipe) -> None:
    said = [
        (r.metric.name, r.metric.qualifiers, r.form, r.comparison, r.bound)
        for evaluate in everything.evaluates
        for r in evaluate.requires
    ]
    assert said == [
        ("iou", ("crack",), "drop", "<=", Quantity(1, "%")),
        ("latency", ("p50",), "speedup", ">=", Quantity(2)),
        ("size", (), "ratio", "<=", Quantity(0.3)),
        ("sqnr", ("scores",), "value", ">=", Quantity(20, "dB")),
        ("throughput", (), "value", ">=", Quantity(30, "fps")),
    ]


def test_what_later_steps_execute_is_read_now(everything: made.Recipe) -> None:
    allocate, train = everything.allocate, everything.train
    assert allocate is not None and train is not None and everything.improve is not None
    assert [c.dtype and c.dtype.name for c in allocate.choices] == ["int8", "int4", "int2"]
    assert allocate.sensitivity is not None
    assert allocate.sensitivity.settings == (("take", 64), ("trials", 8), ("epsilon", 0.001))
    assert [b.require.metric.name for b in allocate.limits] == ["size", "latency"]
    assert (len(allocate.pins), len(allocate.groups), allocate.minimize) == (1, 1, "loss")
    assert dict(train.settings)["optimizer"] == ("sgd", "lr", 0.01, "momentum", 0.9, "weight_decay", 0.0001)
    assert everything.improve.steps == (("equalize", ()), ("bias_correct", ()), ("round", ("adaptive",)))
    assert everything.uses[0].path == str(HERE / "my_fusion.rule")


# merging


def test_a_later_statement_changes_only_what_it_writes(member: made.Recipe) -> None:
    calib = member.dataset("calib")
    assert (calib.take, calib.split, calib.source) == ((50, None), "train", "folder")
    assert member.mode is not None
    weights, activations = member.mode.settings.weights, member.mode.settings.activations
    assert weights is not None and activations is not None and member.mode.settings.calibrate is not None
    assert (weights.dtype, weights.level) == (DTYPES["int8"], "extends")
    assert (activations.dtype, activations.symmetric, activations.level) == (DTYPES["int8"], None, "recipe")


def test_paths_belong_to_the_file_that_writes_them(member: made.Recipe) -> None:
    assert member.dataset("calib").paths == (str(HERE / "members" / ".." / "shared/train"),)
    assert member.model is not None and member.model.location == str(HERE / "members" / "member.onnx")


def test_names_resolve_after_merging(member: made.Recipe) -> None:
    first = member.rules[0]
    assert isinstance(first, made.KeepRule)
    (named,) = first.picks.parts
    assert isinstance(named, sel.Named) and named.definition is not None
    (op,) = named.definition.parts
    assert isinstance(op, sel.Op) and op.names[0][0] == "Gemm"


def test_rules_add_up_and_budgets_replace(member: made.Recipe) -> None:
    assert [rule.level for rule in member.rules] == ["extends", "recipe"]
    ort = member.targets[0]
    assert (ort.name, ort.threads, len(ort.rules)) == ("ort", 4, 2)
    assert [r.bound for r in ort.requires] == [Quantity(3, "MB")]
    (evaluate,) = member.evaluates
    assert [(r.form, r.bound) for r in evaluate.requires] == [("drop", Quantity(2, "pp")), ("value", Quantity(0.7))]
    assert [m.name for m in evaluate.measure] == ["top1"]


def write(directory: Path, **files: str) -> Path:
    for name, text in files.items():
        (directory / f"{name}.q").write_text(text, encoding="utf-8")
    return directory / "main.q"


def chain(directory: Path, **files: str) -> made.Recipe:
    return load(write(directory, **files)).recipe


def test_a_new_mode_starts_over(tmp_path: Path) -> None:
    found = chain(
        tmp_path,
        base="quantize static { weights int8; activations uint8 }",
        main='extends "base.q"\nquantize dynamic { weights uint8 }',
    )
    assert found.mode is not None
    assert (found.mode.kind, found.mode.settings.activations) == ("dynamic", None)


@pytest.mark.parametrize(
    "again, take",
    [
        ('data d from folder "y"', None),
        ('data d from images "x"', None),
        ('data d from folder "x"', (3, None)),
        ("data d { split train }", (3, None)),
        ("data d { take 4 seed 1 }", (4, 1)),
    ],
)
def test_a_new_from_starts_over(tmp_path: Path, again: str, take: tuple[int, int | None] | None) -> None:
    base = 'data d from folder "x" { take 3 }'
    found = chain(tmp_path, base=base, main=f'extends "base.q"\n{again}').dataset("d")
    # the same words in another file of the same directory are the same place
    assert found.take == take


def test_arrays_are_replaced_as_one(tmp_path: Path) -> None:
    base = 'data d from npz "x" { array "a" "b"; array "c" "d" }'
    found = chain(tmp_path, base=base, main='extends "base.q"\ndata d { array "e" "f"; array "g" "h" }').dataset("d")
    assert found.arrays == (("e", "f"), ("g", "h"))


def test_a_new_training_or_allocation_starts_over(tmp_path: Path) -> None:
    base = "allocate weights from [int8] { pin all to int8 }\ntrain qat { epochs 3 }\nimprove { equalize }"
    main = 'extends "base.q"\nallocate activations from [int8, int16]\ntrain qat { batch 2 }\nimprove { bias_correct }'
    found = chain(tmp_path, base=base, main=main)
    assert found.allocate is not None and found.allocate.pins == () and len(found.allocate.choices) == 2
    assert found.train is not None and found.train.settings == (("epochs", (3,)), ("batch", (2,)))
    assert found.improve is not None and [s[0] for s in found.improve.steps] == ["equalize", "bias_correct"]


def test_bases_chain(tmp_path: Path) -> None:
    found = chain(
        tmp_path,
        first='recipe first\nkeep op Conv in float32\nmodel onnx "a.onnx"',
        second='recipe second\nextends "first.q"\nkeep op Gemm in float32',
        main='recipe main\nextends "second.q"\nkeep op Add in float32\nmodel onnx "b.onnx"',
    )
    ops = [rule.picks.parts[0].names[0][0] for rule in found.rules]  # type: ignore[union-attr]
    assert ops == ["Conv", "Gemm", "Add"]
    assert found.model is not None and found.model.written == "b.onnx"
    assert len(found.sources) == 3


def test_errors_of_all_files_come_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, base="keep al in float32\nlayrs all { }", main='extends "base.q"\nkeep all in float31')
    with pytest.raises(QdslError) as raised:
        load(path)
    assert sorted(d.code for d in raised.value.diagnostics) == ["unknown-selector", "unknown-statement", "unknown-type"]


# parameters


def dtype_of(sets: dict[str, str]) -> str:
    text = "param bits = int8 from [int8, int4]\nlayers all { weights $bits }"
    (rule,) = loads(text, sets=sets).recipe.rules
    assert isinstance(rule, made.LayersRule) and rule.settings.weights is not None
    return str(rule.settings.weights.dtype)


def test_set_replaces_a_parameter() -> None:
    assert dtype_of({}) == "int8"
    assert dtype_of({"bits": "int4"}) == "int4"


def test_parameters_stand_wherever_a_value_may() -> None:
    text = """
    param n = 3
    param path = "x.npz"
    param scope = "/head"
    param share = 99.9
    param limit = 3 MiB
    param size = [2, 3]
    param op = Conv
    data d from npz $path { take $n seed $n }
    input { resize $size crop }
    keep under $scope, first $n of op $op expect $n in float32
    layers out_channels < $n { calibrate percentile $share }
    target ort { require size <= $limit; threads $n }
    """
    found = loads(text, sets={"n": "5", "path": "y.npz", "limit": "4 MB"}).recipe
    assert found.data[0].take == (5, 5) and found.data[0].written == ("y.npz",)
    assert found.inputs[0].steps[0].args == (2, 3, "crop")
    assert isinstance(found.rules[0], made.KeepRule) and isinstance(found.rules[0].picks.parts[1], sel.Nth)
    assert found.rules[0].picks.parts[1].count == 5
    assert found.targets[0].requires[0].bound == Quantity(4, "MB")
    assert found.targets[0].threads == 5
    assert dict(found.params)["limit"] == "4 MB"


@pytest.mark.parametrize(
    "given, code",
    [
        ("int2", "param-choice"),
        ('"int4"', "param-choice"),
        ("int8 int4", "param-choice"),
        ("", "setting-value"),
        ("$bits", "setting-value"),
        ("]", "setting-value"),
        ("int4\nkeep all in float32", "setting-value"),
        ("int4; keep all in float32", "setting-value"),
        ("x" * 2000, "setting-value"),
    ],
)
def test_set_outside_the_list(given: str, code: str) -> None:
    assert codes("param bits = int8 from [int8, int4]", sets={"bits": given}) == [code]


def test_set_of_an_unknown_parameter() -> None:
    assert codes("param bits = int8", sets={"bit": "int4"}) == ["unknown-param"]


def test_merged_parameters_keep_their_list(tmp_path: Path) -> None:
    path = write(tmp_path, base="param b = int8 from [int8, int4]", main='extends "base.q"\nparam b = int2')
    with pytest.raises(QdslError, match="param-choice"):
        load(path)


# names within names


def test_selects_may_stand_anywhere_and_use_each_other() -> None:
    found = loads("keep a in float32\nselect a = b, op Conv\nselect b = silu").recipe
    assert [name for name, _ in found.selects] == ["a", "b"]


def test_selects_are_bounded() -> None:
    deep = "\n".join(f"select s{i} = s{i + 1}" for i in range(200)) + "\nselect s200 = all"
    assert set(codes(deep)) == {"nested-too-deep"}
    wide = "\n".join(f"select s{i} = s{i + 1}, s{i + 1}" for i in range(20)) + "\nselect s20 = all"
    assert set(codes(wide)) == {"nested-too-deep"}


@pytest.mark.parametrize(
    "bound", ["top1 >= 1", "top1 >= 100 %", "top1 <= 2", "top1 != 3", "top1 ratio >= 1.01", "top1 drop <= 500 pp"]
)
def test_a_share_may_be_bounded_by_all(bound: str) -> None:
    loads(f'data d from images "*.jpg"\nevaluate classification on d {{ require {bound} }}\n')


def test_several_processors_are_more_than_all_of_one() -> None:
    loads("target ort { require cpu >= 195 % }\n")
