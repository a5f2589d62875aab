"""A compilation is steps over one job: each leaves what it says, none runs before its turn, and one that was stopped at
any of them ends, run again, in the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from compile_tools import project, tree

import qdsl
from qdsl.api import compiling
from qdsl.api.compiling import STEPS
from qdsl.diag import QdslError
from qdsl.measure.events import Event
from qdsl.ranges.calibrating import saved_at
from qdsl.ranges.locking import Wish
from qdsl.steps.job import Effort, Job, Left, OrderError, Wishes

NAMES = [step.__name__ for step in STEPS]
MORE = "evaluate fidelity on calib { require cosine >= 0.5 }\n"
# What is there after each step that was not there before.
LEAVES = {
    "require": {"calibrator", "processors", "examination"},
    "read": {"loaded", "pinned"},
    "prepare": {"prepared"},
    "plan": {"planned", "observed"},
    "open_data": {"opened"},
    "foresee": {"expected"},
    "recall": {"recalled", "datasets"},
    "calibrate": {"measured"},
    "allocate": {"given", "ranges"},
    "choose": {"decided", "chosen"},
    "round_weights": {"rounded", "carried"},
    "emit": {"made"},
    "evaluate": {"figures"},
    "emulate": {"checks"},
    "examine": {"engines"},
    "trace": {"causes"},
    "judge": {"budgets", "measurements"},
    "build": {"built", "settled"},
    "report": {"page"},
}
# What a step needs where the lock gave the ranges, and only there.
RECALLED = {"choose": {"pinned"}}
# The files that are on disk after each step, of those that were not there before.
WRITES = {
    "emit": {"demo/ort/model.onnx", "demo/ort/manifest.json"},
    "write": {"demo/plan.json", "demo/ranges.json", "demo/recipe.txt"},
    "lock": {"demo.lock"},
    "judge": {"demo/measurements.json"},
    "report": {"demo/report.html"},
}


def recipe_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return project(folder, MORE)


def job_of(recipe: Path, **more: object) -> Job:
    return Job(Wishes(recipe, recipe.parent / "build", **more))  # type: ignore[arg-type]


def on_disk(recipe: Path) -> dict[str, bytes]:
    """Everything that compiling writes, by name."""
    lock = recipe.with_suffix(".lock")
    written = tree(recipe.parent / "build") if (recipe.parent / "build").is_dir() else {}
    return {**written, **({lock.name: lock.read_bytes()} if lock.exists() else {})}


class Reads(dict[str, object]):
    """What was left, and the names of what is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> object:
        self.names.add(name)
        return super().__getitem__(name)


def lines_of(step: Callable[[Job], None], word: str) -> set[str]:
    """The names that a step's docstring gives behind `Needs` or `leaves`."""
    text = " ".join((step.__doc__ or "").split())
    found = re.search(rf"\b{word} ((?:`\w+`(?:, )?)+)", text, re.IGNORECASE)
    return set(re.findall(r"`(\w+)`", found.group(1))) if found else set()


def test_each_step_leaves_what_it_says(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    with job_of(recipe) as job:
        for step in STEPS:
            before, files = set(job.left), set(on_disk(recipe))
            step(job)
            left = set(job.left) - before
            assert left == LEAVES.get(step.__name__, set()) == lines_of(step, "leaves"), step.__name__
            written = {name for name in set(on_disk(recipe)) - files if "/bench/" not in name}
            assert written == WRITES.get(step.__name__, set()), step.__name__
    assert on_disk(recipe).keys() >= {"demo/ort/bench/bundle.json"}


def test_each_step_reads_what_it_says_it_needs(tmp_path: Path) -> None:
    """All of it is read where ranges are measured, or where they are in the lock."""
    recipe, reads = recipe_in(tmp_path), {name: set[str]() for name in NAMES}
    for _ in ("measured", "recalled"):
        with job_of(recipe) as job:
            job.left = read = Reads()
            for step in STEPS:
                read.names.clear()
                step(job)
                reads[step.__name__] |= read.names - LEAVES.get(step.__name__, set())
    assert reads == {step.__name__: lines_of(step, "needs") for step in STEPS}


def test_a_step_cannot_run_before_what_it_needs_is_there(tmp_path: Path) -> None:
    with job_of(recipe_in(tmp_path)) as job:
        for step in STEPS:
            for name in lines_of(step, "needs") - RECALLED.get(step.__name__, set()):
                less = Job(job.wishes, left={each: value for each, value in job.left.items() if each != name})
                with less, pytest.raises(OrderError, match=f"`{name}` is what the step"):
                    step(less)
            step(job)


def test_what_is_left_says_by_whom() -> None:
    by = {name: each.step for name, each in vars(Job).items() if isinstance(each, Left)}
    assert by == {name: step for step, names in LEAVES.items() for name in names}


def test_nothing_is_left_twice(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    with job_of(recipe) as job:
        STEPS[0](job)
        with pytest.raises(OrderError, match=r"`calibrator` is there already: the step `require` has run"):
            STEPS[0](job)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What compiling without a stop leaves."""
    recipe = recipe_in(tmp_path_factory.mktemp("whole"))
    qdsl.compile(recipe, out=recipe.parent / "build")
    return on_disk(recipe)


@pytest.mark.parametrize(
    "stopped",
    [pytest.param(n, marks=[] if n % 3 == 1 else pytest.mark.slow) for n in range(len(STEPS) + 1)],
    ids=["at_once", *NAMES],
)
def test_stopped_after_any_step_and_run_again_it_gives_the_same_bytes(
    stopped: int, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_in(tmp_path / "stopped")

    def stop(job: Job) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(compiling, "STEPS", (*STEPS[:stopped], stop))
        with pytest.raises(KeyboardInterrupt):
            qdsl.compile(recipe, out=recipe.parent / "build")
    known = recipe.with_suffix(".lock").exists()
    assert known == (stopped > NAMES.index("lock"))
    heard: list[Event] = []
    result = qdsl.compile(recipe, out=recipe.parent / "build", listener=heard.append)
    assert result.from_lock == known
    assert any(event.stage == "calibrate" for event in heard) != known, "what is in the lock is not measured again"
    assert on_disk(recipe) == whole


def test_a_calibration_stopped_in_the_middle_goes_on_from_what_it_saw(
    whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_in(tmp_path / "stopped")
    monkeypatch.setattr("qdsl.calibrate.running.SAVE_EVERY", 0.0)

    def stop(event: Event) -> None:
        if event.stage == "calibrate" and event.done == 2:
            raise KeyboardInterrupt

    effort = Effort(workers=1)
    with pytest.raises(KeyboardInterrupt), job_of(recipe, effort=effort) as job:
        job.tell = stop
        for step in STEPS:
            step(job)
    assert saved_at(recipe.parent / "build/demo", "calib").is_file()
    seen: list[int] = []
    with job_of(recipe, effort=effort) as job:
        job.tell = lambda event: seen.append(event.done) if event.stage == "calibrate" and event.done else None
        for step in STEPS:
            step(job)
    assert seen[0] > 2, "the first samples are not seen again"
    assert on_disk(recipe) == whole


def test_the_folder_is_held_until_the_job_ends(tmp_path: Path) -> None:
    recipe, up_to = recipe_in(tmp_path), NAMES.index("occupy") + 1
    with job_of(recipe) as job:
        for step in STEPS[:up_to]:
            step(job)
        assert (recipe.parent / "build/demo").is_dir()
    assert not (recipe.parent / "build").exists(), "nothing came of it: nothing is left"


def test_wishes_that_contradict_are_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exclude one another"):
        Wish(locked=True, update=True)
    for words in ({"workers": 0}, {"batch": -1}, {"shards": 0}):
        with pytest.raises(ValueError, match="whole number from 1"):
            Effort(**words)
    with job_of(tmp_path / "nowhere.q", effort=Effort(engine="nobody")) as job, pytest.raises(QdslError) as caught:
        STEPS[0](job)
    assert [found.code for found in caught.value.diagnostics] == ["sweep-engine"]
