"""The plan as text, as JSON, and one node explained."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_tools import HEAD, branches, decided, detector, planned, residual, two_convs
from structure_graphs import Net

from qdsl.describe.explain import explain
from qdsl.describe.render import render
from qdsl.diag import Diagnostics, QdslError
from qdsl.graph import load
from qdsl.lang import load as load_recipe
from qdsl.lang import loads
from qdsl.passes.pipeline import canonicalise
from qdsl.plan import decide
from qdsl.spec import DTYPES, Granularity, Guard, Scheme
from qdsl.spec.plan import (
    PLAN_VERSION,
    BiasPlan,
    CacheUse,
    Calibration,
    Count,
    Fact,
    Flag,
    Island,
    NodePlan,
    Origin,
    Plan,
    Prediction,
    Reader,
    TensorPlan,
    Totals,
    WeightPlan,
)
from qdsl.spec.plan_json import from_json, plan_hash, to_json

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "data" / "yolov8_tiny_torchscript.onnx"
KEEP = "select decode = decode_head\nkeep decode in float32\n"
Golden = Callable[[str, str], None]


# --- text -----------------------------------------------------------------------------------------------------------


def test_a_small_plan_reads_well(golden: Golden) -> None:
    rules = (
        'keep "gemm" in float32\nlayers op Conv { weights int8 per_tensor; range [-3, 3] }\n'
        'layers all { calibrate minmax on calib }\nplace { leave "stem" -> "right" }\n'
    )
    golden("plan/branches.txt", render(planned(branches(), rules)))


def test_residual_and_sharing(golden: Golden) -> None:
    golden("plan/residual.txt", render(planned(residual(), "place { share scale across op Add }\n")))


def test_a_detector_is_flagged(golden: Golden) -> None:
    golden("plan/detector.txt", render(planned(detector())))


def test_yolov8_tiny(golden: Golden) -> None:
    model = load(TINY)
    canonicalise(model)
    recipe = loads(HEAD + KEEP, name="demo.q").recipe
    decisions = decide(recipe, model.view(), "ort", float_bytes=TINY.stat().st_size, diags=Diagnostics())
    text = render(decisions.plan)
    assert "63 of 64 Conv in integers" in text
    golden("plan/yolov8_tiny.txt", text)


def test_names_cannot_steer_the_terminal() -> None:
    net = Net()
    y = net.conv(net.input("x", 1, 3, 8, 8), 4, name="\x1b[2Jconv\x07")
    plan = planned(net.view(y))
    text = render(plan)
    assert "\x1b" not in text and "\x07" not in text
    assert "?[2Jconv?" in text


def test_colours_only_when_asked() -> None:
    plan = planned(two_convs())
    assert "\x1b" not in render(plan)
    assert "\x1b" in render(plan, rich=True)


def test_every_node_has_its_line() -> None:
    plan = planned(branches())
    lines = render(plan).split("\n")
    for node in plan.nodes:
        assert any(line.startswith(f"{node.mark} {node.node} ") for line in lines)


# --- explain --------------------------------------------------------------------------------------------------------

CHAIN = (
    'keep "gemm" in float32\nlayers op Conv { weights int8 per_tensor }\n'
    'layers "left" { weights int8 per_channel; range [-4, 4] }\n'
)


def test_the_chain_of_a_node_ends_in_the_line_that_won(golden: Golden) -> None:
    found = explain(decided(branches(), CHAIN), "left")
    chain = [(step.origin.line, step.won) for step in found.steps if step.what == "weights"]
    assert chain == [(5, False), (12, False), (13, True)]
    golden("plan/explain_node.txt", found.text)


def test_a_kept_node_names_its_rule(golden: Golden) -> None:
    found = explain(decided(branches(), CHAIN), "gemm")
    assert [(s.value, s.origin.line) for s in found.steps if s.what == "keep"] == [("float32", 11)]
    golden("plan/explain_kept.txt", found.text)


def test_a_tensor_names_its_readers_and_its_group(golden: Golden) -> None:
    golden("plan/explain_tensor.txt", explain(decided(residual()), "pool_out").text)


def test_a_refused_node_says_why() -> None:
    found = explain(decided(branches()), "right_tanh")
    assert "no integer kernel" in found.verdict and "in float" in found.verdict


def test_an_edge_left_alone_names_its_rule() -> None:
    found = explain(decided(residual(), 'place { leave "relu1" -> "add" }\n'), "relu1_out")
    assert [(s.value, s.origin.line) for s in found.steps if s.what == "place"] == [("no Q/DQ before add", 11)]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(QdslError) as caught:
        explain(decided(two_convs()), "conv3")
    (found,) = caught.value.diagnostics
    assert found.code == "unknown-name" and "conv" in found.help[0]


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_json_keeps_everything() -> None:
    plan = planned(residual(), "place { share scale across op Add }\nlayers all { calibrate minmax on calib }\n")
    assert from_json(to_json(plan)) == plan
    assert to_json(from_json(to_json(plan))) == to_json(plan)


def test_json_is_sorted_and_versioned() -> None:
    text = to_json(planned(two_convs()))
    data = json.loads(text)
    assert data["version"] == PLAN_VERSION
    assert text == json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    assert str(ROOT) not in text


_WORDS = st.text(max_size=8)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=32)
_GUARDS = st.builds(Guard, st.lists(st.integers(0, 4), max_size=3).map(tuple), st.booleans())
_SCHEMES = st.builds(
    Scheme,
    st.sampled_from(list(DTYPES.values())),
    st.booleans(),
    st.sampled_from(Granularity),
    st.none() | st.integers(1, 64),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(2, 7),
)
_ORIGINS = st.builds(Origin, _WORDS, _WORDS, st.integers(0, 99))
_CALIBRATIONS = st.builds(
    Calibration,
    method=_WORDS,
    data=st.none() | _WORDS,
    percentile=st.none() | _FLOATS,
    symmetric=st.booleans(),
    low=st.none() | _FLOATS,
    high=st.none() | _FLOATS,
    origin=_ORIGINS,
)
_READERS = st.lists(st.builds(Reader, _WORDS, st.integers(-1, 3)), max_size=3).map(tuple)


def _few(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


_PORT = st.integers(0, 3)
_PREDICTIONS = st.builds(Prediction, _WORDS, _WORDS, _WORDS, _WORDS)
_PLANS = st.builds(
    Plan,
    version=st.just(PLAN_VERSION),
    recipe=_WORDS,
    model=_WORDS,
    target=_WORDS,
    mode=_WORDS,
    nodes=_few(
        st.builds(NodePlan, _WORDS, _WORDS, _WORDS, _WORDS, _ORIGINS, _PREDICTIONS, st.none() | st.integers(0, 2**60))
    ),
    tensors=_few(
        st.builds(TensorPlan, _WORDS, _SCHEMES, _READERS, _WORDS, st.booleans(), _CALIBRATIONS, _ORIGINS, _ORIGINS)
    ),
    weights=_few(st.builds(WeightPlan, _WORDS, _PORT, _WORDS, _SCHEMES, st.none() | _PORT, _ORIGINS, _GUARDS)),
    biases=_few(st.builds(BiasPlan, _WORDS, _PORT, _WORDS, _WORDS, _PORT, _ORIGINS)),
    flags=_few(st.builds(Flag, _WORDS, _WORDS, _few(_WORDS), _few(_WORDS))),
    totals=st.builds(Totals, *[st.integers(0, 2**50)] * 9),
    open=_few(_WORDS),
    counts=_few(st.builds(Count, _ORIGINS, _WORDS, _PORT, _PORT)),
    islands=_few(st.builds(Island, _few(_WORDS), _few(_WORDS), _few(_WORDS), st.integers(0, 2**50), st.booleans())),
    caches=_few(st.builds(CacheUse, *[_WORDS] * 4, *[_PORT] * 3)),
    facts=_few(st.builds(Fact, _WORDS, _WORDS, _few(st.tuples(_WORDS, _WORDS)))),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(_PLANS)
def test_any_plan_survives_json(plan: Plan) -> None:
    assert from_json(to_json(plan)) == plan
    assert plan_hash(from_json(to_json(plan))) == plan_hash(plan)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data | {"version": PLAN_VERSION + 1},
        lambda data: {k: v for k, v in data.items() if k != "nodes"},
        lambda data: data | {"nodes": 3},
        lambda data: data | {"recipe": 7},
        lambda data: data | {"more": 1},
        lambda data: data | {"tensors": [data["tensors"][0] | {"observe": 1}]},
        lambda data: data | {"weights": [data["weights"][0] | {"scheme": {"dtype": "int9"}}]},
        lambda data: [],
    ],
)
def test_what_is_no_plan_is_refused(damage: Callable[[dict[str, object]], object]) -> None:
    data = json.loads(to_json(planned(two_convs())))
    with pytest.raises(QdslError) as caught:
        from_json(json.dumps(damage(data)))
    assert caught.value.diagnostics[0].code == "plan-file"


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "null", "NaN"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(QdslError):
        from_json(text)


def test_the_hash_follows_the_content() -> None:
    plan = planned(two_convs())
    assert plan_hash(plan) == plan_hash(planned(two_convs()))
    assert plan_hash(plan) != plan_hash(replace(plan, recipe="other"))


@pytest.mark.slow
def test_the_plan_does_not_depend_on_the_hash_seed() -> None:
    program = (
        "import sys; sys.path[:0] = ['tests', '.']\n"
        "from plan_tools import *; from qdsl.spec.plan_json import plan_hash\n"
        "print(plan_hash(planned(branches(), 'place { share scale across op Concat }\\n')))"
    )
    seen = set()
    for seed in ("0", "1"):
        env = {"PYTHONHASHSEED": seed, "PATH": ""}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=env)
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout)
    assert len(seen) == 1


@pytest.mark.slow
def test_planning_loads_no_runtime() -> None:
    program = (
        "import sys; sys.path[:0] = ['tests', '.']\n"
        "from plan_tools import *; planned(residual())\n"
        "print('onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


def _fields(kind: Any, seen: frozenset[Any] = frozenset()) -> str:
    """Names and types of the fields of a plan, and of everything in it; what its classes are called says nothing."""
    if get_args(kind):
        word = "|" if isinstance(kind, UnionType) else get_origin(kind).__name__
        return f"{word}[{', '.join(_fields(arg, seen) for arg in get_args(kind))}]"
    name = getattr(kind, "__qualname__", str(kind))
    if not is_dataclass(kind) or kind in seen:
        return name
    hints = get_type_hints(kind)
    return f"({', '.join(f'{f.name}: {_fields(hints[f.name], seen | {kind})}' for f in fields(kind))})"


def test_other_fields_are_another_version() -> None:
    """Whoever changes what a plan holds raises PLAN_VERSION, so that an older plan.json is refused by its version, and
    writes the new digest here."""
    digest = hashlib.sha256(_fields(Plan).encode()).hexdigest()[:16]
    assert (PLAN_VERSION, digest) == (9, "3943c692ed7743ce")


def test_a_plan_of_an_older_version_is_refused_by_its_version() -> None:
    data = json.loads(to_json(planned(two_convs())))
    data["version"] = PLAN_VERSION - 1
    del data["totals"]["uncounted"]
    with pytest.raises(QdslError) as caught:
        from_json(json.dumps(data))
    assert (
        f"of version {PLAN_VERSION - 1}, this program reads version {PLAN_VERSION}" in caught.value.diagnostics[0].label
    )


def test_lines_of_a_base_carry_their_file(tmp_path: Path) -> None:
    """Two rules on the same line number, one of them in a file that the recipe extends."""
    base = HEAD.replace("recipe demo", "recipe base")
    (tmp_path / "base.q").write_text(base, encoding="utf-8")
    rules = 'layers op Gemm { weights int8 per_tensor }\nkeep "left" in float32\n'
    child = f'recipe demo\nextends "base.q"\n{rules}'
    (tmp_path / "demo.q").write_text(child, encoding="utf-8")
    recipe = load_recipe(tmp_path / "demo.q").recipe
    made = decide(recipe, branches(), "ort", float_bytes=1000, diags=Diagnostics())
    (stem,) = [line for line in render(made.plan).splitlines() if line.startswith("+ stem")]
    assert stem.endswith("base.q:5"), "the mode of the base"
    (left,) = [line for line in render(made.plan).splitlines() if line.startswith("= left")]
    assert "line 4" in left and "base.q" not in left
    assert "quantize static, base.q:5" in explain(made, "stem").text
    assert "line 4" in explain(made, "left").text
