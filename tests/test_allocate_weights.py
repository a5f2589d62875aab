"""`allocate weights`: the least loss within the bytes of the emitted file, held against trying every assignment."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import HEAD, artifacts, project, residual_net, samples, session, tree

import qdsl
from qdsl.allocate.building import Building
from qdsl.diag import QdslError
from qdsl.spec.plan import WeightPlan

LAYERS = ("stem", "inner", "left", "right", "gemm")
OPEN, RULES = LAYERS[:3], 'layers "right", "gemm" { weights int8 }\n'
NARROW = "int4 storage_only"


def block(bound: str, more: str = "", what: str = "[int8, int4]") -> str:
    return f"allocate weights from {what} {{\n  minimize loss under size <= {bound}\n{more}}}\n"


def compiled(recipe: Path, **more: Any) -> qdsl.CompileResult:
    return qdsl.compile(recipe, out=recipe.parent / "build", measure=False, **more)


def types(result: qdsl.CompileResult) -> dict[str, str]:
    """What each layer's weights are stored as."""
    found = result.targets[0].plan.weights
    return {weight.node: weight.scheme.dtype.name for weight in found if isinstance(weight, WeightPlan)}


def size(result: qdsl.CompileResult) -> int:
    return result.targets[0].emitted.size


def recorded(recipe: Path) -> Any:
    return json.loads((recipe.parent / "build" / "demo" / "allocation-ort.json").read_text())["exact"]


def wide(folder: Path, rules: str) -> Path:
    """The small net with 64 channels, so that narrow weights outweigh what is written beside them."""
    proto = residual_net()
    shapes = {"w1": (64, 3, 3, 3), "w2": (64, 64, 3, 3), "w3": (64, 64, 1, 1), "w4": (64, 64, 1, 1), "w5": (5, 128)}
    shapes |= {"b1": (64,), "b2": (64,), "b3": (64,), "b4": (64,)}
    for at, tensor in enumerate(proto.graph.initializer):
        if tensor.name in shapes:
            values = np.random.default_rng(at).standard_normal(shapes[tensor.name]).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return project(folder, rules, proto=proto)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], int]:
    """By the type of each layer the bytes of the file, emitted for it, with what `allocate` adds for the provenance."""
    folder = tmp_path_factory.mktemp("every")
    seen: dict[tuple[str, ...], int] = {}
    real = Building.emitted

    def all_of_them(self: Any, found: Any) -> int:
        for words in product(("int8", NARROW), repeat=len(OPEN)):
            one = self.asked.problem.assignment(dict(zip(OPEN, words, strict=True)))
            seen[words] = real(self, one)
        return seen[tuple(dict(found.choices)[name] for name in OPEN)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Building, "emitted", all_of_them)
        compiled(wide(folder, RULES + "allocate weights from [int8, int4]\n"))
    return seen


SLOW = pytest.mark.slow


@SLOW
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_bound_holds_on_the_file_and_nothing_that_keeps_it_loses_less(
    tmp_path: Path, every: dict[tuple[str, ...], int], share: float
) -> None:
    bound = int(min(every.values()) + share * (max(every.values()) - min(every.values())))
    recipe = wide(tmp_path, RULES + block(f"{bound} B"))
    result = compiled(recipe)
    found = recorded(recipe)
    assert size(result) <= bound
    losses = {unit["node"]: {each["choice"]: each["loss"] for each in unit["options"]} for unit in found["units"]}
    within = [words for words, bytes_ in every.items() if bytes_ <= bound]
    best = min(sum(losses[name][words] for name, words in zip(OPEN, each, strict=True)) for each in within)
    assert found["loss"] == pytest.approx(best, rel=1e-12)
    chosen = {unit["node"]: unit["chosen"].split()[0] for unit in found["units"]}
    assert types(result) == {**chosen, "right": "int8", "gemm": "int8"}
    outputs = [session(result.targets[0].emitted.model).run(None, dict(each)) for each in samples(recipe)]
    assert len(outputs) == 6


@SLOW
def test_without_a_bound_everything_takes_what_loses_least(tmp_path: Path) -> None:
    recipe = project(tmp_path, "improve { bias_correct; round adaptive }\nallocate weights from [int4, int8]\n")
    result = compiled(recipe)
    assert types(result) == dict.fromkeys(LAYERS, "int8") and recorded(recipe)["size"] == size(result)
    points = recorded(recipe)
    assert points["sizes"] == sorted(points["sizes"]) and points["losses"] == sorted(points["losses"], reverse=True)
    assert points["losses"][-1] == points["loss"]


@SLOW
def test_rules_pins_and_groups_are_kept_to(tmp_path: Path) -> None:
    rules = 'layers "stem" { weights int8 }\nkeep "gemm" in float32\n'
    recipe = project(tmp_path, rules + block("100 KB", '  pin "inner" to int4\n  group "left", "right"\n'))
    found = types(compiled(recipe))
    assert found == {"stem": "int8", "inner": "int4", "left": "int8", "right": "int8"}
    assert [unit["node"] for unit in recorded(recipe)["units"]] == ["inner", "left", "right"]


@SLOW
def test_a_pin_may_name_a_type_that_is_not_offered(tmp_path: Path) -> None:
    recipe = project(tmp_path, block("100 KB", "  pin first 1 of op Conv to int8\n", "[int4]"))
    assert types(compiled(recipe)) == {**dict.fromkeys(LAYERS, "int4"), "stem": "int8"}


@SLOW
def test_a_tensor_that_several_nodes_read_gets_one_type(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> net (float[1, 4, 4, 4] x) => (float[1, 4, 4, 4] y) {'
        " [one] a = Conv (x, w) [two] b = Relu (a) [three] y = Conv (b, w) }"
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(_noise(4, 4, 1, 1), "w"))
    recipe = project(tmp_path, block("100 KB"), proto=proto)
    result = compiled(recipe)
    assert [unit["node"] for unit in recorded(recipe)["units"]] == ["one"]
    assert types(result) == {"one": "int8", "three": "int8"}


def _noise(*shape: int) -> Any:
    return np.random.default_rng(2).standard_normal(shape).astype(np.float32)


@pytest.mark.slow
def test_the_plan_shows_it_open_then_as_lines(tmp_path: Path) -> None:
    bound = 58_000
    recipe = wide(tmp_path, RULES + block(f"{bound} B"))
    assert any(
        f"widths of weights: from int8, int4 under size <= {bound} B" in t for t in qdsl.plan(recipe).plans[0].open
    )
    result = compiled(recipe)
    assert recorded(recipe)["size"] == size(result) <= bound and set(types(result).values()) == {"int8", "int4"}
    after = qdsl.plan(recipe).plans[0]
    assert after == result.targets[0].plan
    lines = [value for fact in after.facts if fact.kind == "assigned" for _, value in fact.settings]
    assert any(f"{{ weights {NARROW} }}" in line for line in lines)
    plain = project(tmp_path / "plain", "\n".join(lines) + "\n")
    given = {weight.node: weight.scheme.dtype.name for weight in qdsl.plan(plain).plans[0].weights}
    assert given == types(result)


@SLOW
def test_a_lock_rebuilds_it_without_data_and_a_second_time_is_the_same(tmp_path: Path) -> None:
    recipe = wide(tmp_path, RULES + block("64 KB"))
    compiled(recipe)
    lock, before = recipe.with_suffix(".lock").read_bytes(), tree(tmp_path / "build")
    recipe.with_suffix(".lock").unlink()
    compiled(recipe)
    assert (recipe.with_suffix(".lock").read_bytes(), artifacts(tmp_path / "build")) == (lock, artifacts_of(before))
    (tmp_path / "calib.npz").unlink()
    assert compiled(recipe, locked=True).from_lock
    model = "demo/ort/model.onnx"
    assert tree(tmp_path / "build")[model] == before[model]
    assert b"loss " in lock


def artifacts_of(found: dict[str, bytes]) -> dict[str, bytes]:
    told = ("measurements.json", "report.html", "/bench/", "/pictures/")
    return {name: content for name, content in found.items() if not any(word in f"/{name}" for word in told)}


def refused(recipe: Path) -> Any:
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    (found,) = caught.value.diagnostics
    return found


@SLOW
def test_a_size_below_the_smallest_is_told_by_the_plan_and_by_the_file(
    tmp_path: Path, every: dict[tuple[str, ...], int]
) -> None:
    smallest = every[(NARROW,) * len(OPEN)]
    with pytest.raises(QdslError) as caught:
        qdsl.plan(wide(tmp_path, RULES + block("1 KB")))
    (found,) = caught.value.diagnostics
    assert found.code == "allocate-size" and found.span.line == len(HEAD.splitlines()) + 3
    assert _bytes(found.headline) == pytest.approx(smallest, rel=0.08)
    told = refused(wide(tmp_path / "near", RULES + block(f"{smallest - 200} B")))
    # the text of the recipe stands in the file, too
    assert told.code == "allocate-size" and abs(_bytes(told.headline) - smallest) <= 64


def _bytes(headline: str) -> int:
    return int(headline.split(" has ")[1].split(" bytes")[0].replace(",", "").removeprefix("about "))


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("allocate weights from [] { minimize loss under size <= 1 MB }", "setting-value", 1),
        ("allocate weights from [int8, float8] { minimize loss under size <= 1 MB }", "target-cannot", 1),
        ("allocate weights from [int8] { minimize latency under size <= 1 MB }", "allocate-bound", 1),
        ("allocate weights from [int8] { minimize loss under size >= 1 KB }", "allocate-bound", 1),
        ("allocate weights from [int8] { minimize size under size <= 1 MB }", "allocate-bound", 1),
        ("allocate weights from [int8, int4] { minimize loss under size <= 1 KB }", "allocate-size", 1),
        ("layers all { weights int8 }\nallocate weights from [int4]", "allocate-nothing", 2),
        ("allocate weights from [int4] {\n  pin op Relu to int8\n}", "allocate-pin", 2),
    ],
)
def test_what_cannot_be_done_is_told_at_its_place(tmp_path: Path, text: str, code: str, line: int) -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.plan(project(tmp_path, text + "\n"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.span.line) == (code, len(HEAD.splitlines()) + line)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["sqnr", "gradient", "hessian"])
def test_a_sensitivity_decides_what_is_lost(tmp_path: Path, method: str) -> None:
    if method != "sqnr":
        pytest.importorskip("torch")
    asked = f"  sensitivity {method} on calib {{ take 4 }}\n"
    recipe = wide(tmp_path, RULES + block("64 KB", asked))
    result = compiled(recipe)
    assert recorded(recipe)["size"] == size(result) <= 64_000
    found = {
        unit["node"]: {each["choice"]: each["loss"] for each in unit["options"]} for unit in recorded(recipe)["units"]
    }
    assert all(0 < each["int8"] < each[NARROW] for each in found.values())
    (told,) = qdsl.explain(recipe, "stem", out=tmp_path / "build")
    assert len(told.sensitivity) == 2 and f"{method} on calib" in told.sensitivity[0]
    assert "Which layers are sensitive" in result.report.read_text(encoding="utf-8")
    plain = wide(tmp_path / "plain", RULES + block("64 KB"))
    compiled(plain)
    assert [unit["options"] for unit in recorded(plain)["units"]] != [u["options"] for u in recorded(recipe)["units"]]


@SLOW
def test_the_report_draws_the_frontier(tmp_path: Path) -> None:
    recipe = wide(tmp_path, RULES + block("64 KB"))
    compiled(recipe)
    page = (tmp_path / "build" / "demo" / "report.html").read_text(encoding="utf-8")
    assert "What a smaller file costs" in page and "3 weights" in page


@pytest.mark.slow
def test_a_parameter_as_the_bound_is_swept(tmp_path: Path) -> None:
    recipe = wide(tmp_path, "param bytes = 64 KB from [64 KB, 58 KB]\n" + RULES + block("$bytes"))
    found = qdsl.sweep([recipe], out=tmp_path / "sweep")
    assert not found.failed
    sizes = [path.stat().st_size for path in sorted((tmp_path / "sweep").rglob("model.onnx"))]
    assert len(sizes) == 2 and min(sizes) <= 58_000 and max(sizes) <= 64_000
