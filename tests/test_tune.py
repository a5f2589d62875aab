"""`tune latency` from recipe to lock, with a stand-in for the clock: real builds, times that the test decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import project

import qdsl
from qdsl.diag import Diagnostics, QdslError
from qdsl.targets import racing
from qdsl.targets.ort import latency
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

TUNE = "tune latency { trials 5; threads 1; require sqnr drop <= 40 dB }\n"
Race = Callable[..., tuple[list[float], list[float]]]


class Clock:
    """A race that the test decides: `gains` are the speed-ups of the builds to come, one by one, then 1."""

    def __init__(self, *gains: float) -> None:
        self.gains = list(gains)
        self.races = 0

    def __call__(self, base: Any, other: Any, feed: Any, blocks: int, heard: Callable[[int], None], _: Any) -> Any:
        self.races += 1
        assert base is not other
        base.run(feed), other.run(feed)
        heard(blocks)
        gain = self.gains.pop(0) if self.gains else 1.0
        return [10.0] * blocks, [10.0 / gain] * blocks


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def use(*gains: float) -> Clock:
        made = Clock(*gains)
        monkeypatch.setattr(latency, "race", made)
        return made

    return use


def compiled(recipe: Path, **words: Any) -> Any:
    return qdsl.compile(recipe, out=recipe.parent / "build", **words)


def chosen(result: Any) -> dict[str, tuple[str, ...]]:
    return {c.alternative: c.nodes for c in result.targets[0].plan.choices if "stem" in c.alternative}


def tuned_lines(recipe: Path) -> list[str]:
    text = recipe.with_suffix(".lock").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("tuned ") and "concat" not in line]


def test_what_helps_is_taken_and_the_climb_ends_where_nothing_helps(
    tmp_path: Path, clock: Callable[..., Clock]
) -> None:
    made = clock(1.2, 1.0)
    recipe = project(tmp_path, TUNE)
    result = compiled(recipe)
    assert made.races == 2
    assert chosen(result) == {"stem_float": ("stem", "relu1")}
    assert result.targets[0].verification.as_predicted
    lines = tuned_lines(recipe)
    assert [line.split('"')[5] for line in lines] == ["inner", "relu1", "stem"]
    assert '"inner" left "1.00x [1.00, 1.00], 10 to 10 ms, 21 blocks, 1 thread"' in lines[0]
    assert '"stem" taken "1.20x [1.20, 1.20], 10 to 8.333 ms, 21 blocks, 1 thread"' in lines[2]


@pytest.mark.slow
def test_a_fresh_lock_times_nothing_and_gives_the_same_bytes(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2, 1.0)
    recipe = project(tmp_path, TUNE)
    first = compiled(recipe).targets[0].emitted.model.read_bytes()
    made = clock(1.0)
    again = compiled(recipe)
    assert again.targets[0].emitted.model.read_bytes() == first
    (tmp_path / "calib.npz").unlink()
    locked = compiled(recipe, locked=True)
    assert locked.targets[0].emitted.model.read_bytes() == first
    assert made.races == 0
    assert chosen(locked) == chosen(again) == {"stem_float": ("stem", "relu1")}


@pytest.mark.slow
def test_update_times_anew(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2, 1.0)
    recipe = project(tmp_path, TUNE)
    compiled(recipe)
    made = clock(1.0)
    assert chosen(compiled(recipe, update=True)) == {}
    assert made.races == 1
    assert [line.split('"')[5] for line in tuned_lines(recipe)] == ["relu1", "stem"]


@pytest.mark.slow
def test_another_tune_makes_the_lock_stale(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2)
    recipe = project(tmp_path, TUNE)
    compiled(recipe)
    recipe.write_text(recipe.read_text().replace("trials 5", "trials 4"))
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    (found,) = caught.value.diagnostics
    assert found.code == "lock-stale"
    assert "`tune` changed" in found.headline
    assert (
        found.span is not None
        and found.span.line == recipe.read_text().split("\n").index(TUNE.strip().replace("5", "4", 1)) + 1
    )


def test_trials_bound_what_is_built(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    made = clock(1.2, 1.2, 1.2)
    compiled(project(tmp_path, TUNE.replace("trials 5", "trials 1")))
    assert made.races == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bound", "told"),
    [("require sqnr >= 90 dB", "sqnr of y is"), ("require sqnr drop <= -60 dB", "sqnr of y drops by")],
)
def test_what_breaks_its_require_is_left_whatever_it_gains(
    bound: str, told: str, tmp_path: Path, clock: Callable[..., Clock]
) -> None:
    made = clock(9.0)
    recipe = project(tmp_path, f"tune latency {{ {bound} }}\n")
    assert chosen(compiled(recipe)) == {}
    assert made.races == 0
    assert all(" left " in line and told in line for line in tuned_lines(recipe))


def test_an_output_that_is_not_there_is_named(tmp_path: Path) -> None:
    recipe = project(tmp_path, 'tune latency { require sqnr "nowhere" >= 30 dB }\n')
    for verb in (qdsl.plan, compiled):
        with pytest.raises(QdslError) as caught:
            verb(recipe)
        assert [d.code for d in caught.value.diagnostics] == ["unknown-name"]


@pytest.mark.slow
def test_plan_and_explain_show_the_choice_with_its_line(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2, 1.0)
    recipe = project(tmp_path, TUNE)
    before = qdsl.plan(recipe).plans[0]
    assert any(text.startswith("stem_float: up to") for text in before.open)
    after = compiled(recipe).targets[0].plan
    assert qdsl.plan(recipe).plans[0] == after
    assert not any("stem_float" in text for text in after.open)
    (told,) = qdsl.explain(recipe, "stem")
    line = recipe.read_text().split("\n").index(TUNE.strip()) + 1
    assert (
        f"1.20x [1.20, 1.20], 10 to 8.333 ms, 21 blocks, 1 thread   tune latency: stem_float, line {line}" in told.text
    )


def test_a_device_elsewhere_decides_its_own_latency(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    made = clock(1.2)
    recipe = project(tmp_path)
    recipe.write_text(recipe.read_text().replace("target ort\n", 'target ort { device "a board" }\n' + TUNE))
    result = compiled(recipe)
    assert made.races == 0 and chosen(result) == {}
    assert any(d.code == "undecided" and "tune latency" in d.headline for d in result.diagnostics)


@pytest.mark.slow
def test_a_choice_without_a_place_is_stale(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2)
    recipe = project(tmp_path, TUNE)
    compiled(recipe)
    path = recipe.with_suffix(".lock")
    from dataclasses import replace

    from qdsl import lock as locks

    found = locks.read(path)
    assert found is not None
    moved = tuple(replace(c, node="gemm") if c.node == "stem" else c for c in found.tuned)
    path.write_text(locks.render(replace(found, tuned=moved)))
    with pytest.raises(QdslError) as caught:
        compiled(recipe)
    assert "`stem_float` has no place at `gemm`" in caught.value.diagnostics[0].headline


def test_a_mode_without_alternatives_is_refused(tmp_path: Path) -> None:
    recipe = project(tmp_path, TUNE + "layers op Gemm { weights int8 }\n")
    text = recipe.read_text().replace("quantize static", "quantize float")
    for line in ("  weights int8 symmetric per_channel\n", "  activations uint8 affine per_tensor\n"):
        text = text.replace(line, "")
    recipe.write_text(text.replace("  calibrate minmax on calib\n", ""))
    with pytest.raises(QdslError) as caught:
        qdsl.plan(recipe)
    (found,) = caught.value.diagnostics
    assert (found.code, found.headline) == (
        "setting-unused",
        "`tune latency` has nothing to choose under `quantize float`",
    )


def test_nothing_to_try_is_said(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    made = clock()
    heard: list[Any] = []
    compiled(project(tmp_path, TUNE + "layers all { weights int8; activations uint8 }\n"), listener=heard.append)
    assert made.races == 0
    assert [e.text for e in heard if e.stage == "tune"] == ["no alternative has a place here, nothing to time"]


@pytest.mark.slow
def test_data_of_its_own_counts_in_the_lock(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2)
    recipe = project(tmp_path, 'data more from npz "more.npz"\n' + TUNE.replace("latency", "latency on more"))
    (tmp_path / "more.npz").write_bytes((tmp_path / "calib.npz").read_bytes())
    assert chosen(compiled(recipe))
    assert 'data "more" "more.npz" 6 ' in recipe.with_suffix(".lock").read_text()


@pytest.mark.slow
def test_progress_is_told(tmp_path: Path, clock: Callable[..., Clock]) -> None:
    clock(1.2, 1.0)
    heard: list[Any] = []
    compiled(project(tmp_path, TUNE), listener=heard.append)
    told = [event for event in heard if event.stage == "tune"]
    assert [(e.done, e.total) for e in told] == [(21, 21), (0, 0), (21, 21), (0, 0), (0, 0)]
    assert told[-1].text == "2 of at most 5 alternatives timed, 1 taken"


def test_a_race_takes_turns() -> None:
    """Who runs when, and which run of a block counts, by a clock that ticks as the builds say."""
    order: list[str] = []
    now = [0.0]

    class Build:
        def __init__(self, name: str, seconds: float) -> None:
            self.name, self.seconds = name, seconds

        def run(self, feed: Any) -> None:
            order.append(self.name)
            now[0] += self.seconds * (3 if len(order) % 7 == 0 else 1)  # now and then something disturbs

    heard: list[int] = []
    base, other = racing.race(
        Build("a", 0.05),
        Build("b", 0.04),
        {},
        4,
        heard.append,
        clock=lambda: now[0],  # type: ignore[arg-type]
    )
    assert heard == [1, 2, 3, 4]
    assert base == pytest.approx([50.0] * 4) and other == pytest.approx([40.0] * 4)
    assert "".join(order[8:]) == "aaaa" + "bbbb" + "bbbb" + "aaaa" + "aaaa" + "bbbb" + "bbbb" + "aaaa"


@pytest.mark.slow
def test_real_times_have_the_same_shape(tmp_path: Path) -> None:
    recipe = project(tmp_path, "tune latency { trials 2; blocks 6; threads 1 }\n")
    compiled(recipe)
    for line in tuned_lines(recipe):
        assert " blocks, 1 thread" in line or "sqnr" in line
    again = compiled(recipe)
    assert again.from_lock


def test_what_is_timed_is_what_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the session options of the manifest: without them, products with integer weights round their inputs."""
    given: list[dict[str, str]] = []

    class Spy(latency.OrtRunner):
        def __init__(self, what: str, model: Path, entries: Any, *words: Any, **more: Any) -> None:
            given.append(dict(entries))
            super().__init__(what, model, entries, *words, **more)

    monkeypatch.setattr(latency, "OrtRunner", Spy)
    weight = onnx.numpy_helper.from_array(np.ones((64, 32), np.float32), "w")
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[1, 64] x) => (float[1, 32] y) { [fc] y = MatMul (x, w) }'
    )
    proto.graph.initializer.append(weight)
    (tmp_path / "demo.onnx").write_bytes(proto.SerializeToString())
    recipe = tmp_path / "demo.q"
    mode = "quantize float { weights int4 symmetric per_block 32 }"
    recipe.write_text(f'recipe demo\nmodel onnx "demo.onnx"\n{mode}\ntarget ort\n', encoding="utf-8")
    prepared = prepare(read(recipe, {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    result = qdsl.compile(recipe, out=tmp_path / "build", lock=False)
    bench = latency.OrtBench(prepared.model, result.ranges, tmp_path, 1)
    bench.load(decided.plan)
    bench.load(None)
    manifest = json.loads(result.targets[0].emitted.manifest.read_text(encoding="utf-8"))
    assert manifest["session_options"] and given == [manifest["session_options"], {}]
