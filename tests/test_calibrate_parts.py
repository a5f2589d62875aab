"""One calibration in any number of parts: batches, workers, shards, interruptions."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_cases import data_spec, small_net
from hypothesis import given, settings
from hypothesis import strategies as st
from test_calibrate import WANTED, noise, rows

import qdsl.data
from qdsl.calibrate import Observations, Request, calibrate, merged, observe, plan_ways, running
from qdsl.diag import QdslError
from qdsl.graph import from_proto

METHODS = ("minmax", "mean_minmax", "entropy", "percentile", "mse")
REQUESTS = [Request(name, METHODS[i % 5], 99.0 if i % 5 == 3 else None) for i, name in enumerate(WANTED)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return rows(tmp_path_factory.mktemp("parts"), noise(11, 3, 32, 32))


@pytest.fixture(scope="module")
def whole(dataset: Any) -> str:
    return calibrate(from_proto(small_net()), REQUESTS, dataset).to_json()


def test_each_range_tells_its_method(whole: str) -> None:
    told = {name: found[2] for name, found in json.loads(whole)["tensors"].items()}
    assert (told["images"], told["s1"], told["p"], told["c1"]) == ("minmax", "entropy", "mse", "mean_minmax")
    assert told["m1"] == "percentile 99"


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (2, 1), (4, 3), (3, 64)])
def test_workers_and_batches_change_nothing(dataset: Any, whole: str, workers: int, batch: int) -> None:
    found = calibrate(from_proto(small_net()), REQUESTS, dataset, workers=workers, batch=batch)
    assert found.to_json() == whole


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_shards_merge_to_the_whole(dataset: Any, whole: str, shards: int) -> None:
    model = from_proto(small_net())
    parts = [observe(model, [REQUESTS], dataset, shard=(i, shards)) for i in range(shards)]
    texts = [part.to_json() for part in parts]
    ways = plan_ways(model, REQUESTS)
    for order in (parts, parts[::-1], [Observations.from_json(text) for text in texts]):
        assert merged(order).ranges(ways).to_json() == whole
    assert [part.to_json() for part in parts] == texts


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(6)), cut=st.integers(1, 5))
def test_merging_is_associative_and_commutative(dataset: Any, order: list[int], cut: int) -> None:
    model = from_proto(small_net())
    parts = _six(model, dataset)
    shuffled = [parts[i] for i in order]
    grouped = merged([merged(shuffled[:cut]), merged(shuffled[cut:])])
    assert grouped.to_json() == merged(parts).to_json()


_CACHE: dict[int, list[Observations]] = {}


def _six(model: Any, dataset: Any) -> list[Observations]:
    if 6 not in _CACHE:
        _CACHE[6] = [observe(model, [REQUESTS], dataset, shard=(i, 6)) for i in range(6)]
    return _CACHE[6]


def test_order_of_samples_changes_no_range(tmp_path: Path) -> None:
    samples = noise(7, 3, 32, 32)
    found = []
    for name, order in (("a", samples), ("b", samples[::-1]), ("c", samples[[3, 1, 6, 0, 2, 5, 4]])):
        (tmp_path / name).mkdir()
        found.append(calibrate(from_proto(small_net()), REQUESTS, rows(tmp_path / name, order)))
    assert len({repr((ranges.low, ranges.high)) for ranges in found}) == 1


def test_parts_of_different_calibrations_do_not_merge(dataset: Any) -> None:
    model = from_proto(small_net())
    part = observe(model, [REQUESTS], dataset, shard=(0, 2))
    with pytest.raises(QdslError, match="share samples"):
        merged([part, part])
    with pytest.raises(QdslError, match="different calibrations"):
        merged([part, observe(model, [REQUESTS[:3]], dataset, shard=(1, 2))])
    with pytest.raises(QdslError, match="only 6 of 11"):
        part.ranges(plan_ways(model, REQUESTS))


class StopHere(KeyboardInterrupt):
    pass


def interrupt_after(count: int) -> Any:
    def progress(done: int, total: int, rate: float) -> None:
        if done == count:
            raise StopHere

    return progress


def test_an_interrupted_calibration_goes_on_where_it_was(tmp_path: Path, dataset: Any, whole: str) -> None:
    kept = tmp_path / "build" / "state.json"
    for count in (3, 6):
        with pytest.raises(StopHere):
            calibrate(
                from_proto(small_net()), REQUESTS, dataset, progress=interrupt_after(count), checkpoint=kept, workers=1
            )
        assert len(Observations.from_json(kept.read_text()).done) >= count
    told: list[int] = []
    found = calibrate(
        from_proto(small_net()),
        REQUESTS,
        dataset,
        checkpoint=kept,
        progress=lambda done, total, rate: told.append(done),
    )
    assert found.to_json() == whole
    assert told[0] > 6 and told[-1] == 11
    assert list(kept.parent.iterdir()) == []


def test_a_state_of_something_else_or_damaged_is_passed_over(tmp_path: Path, dataset: Any, whole: str) -> None:
    kept = tmp_path / "state.json"
    other = observe(from_proto(small_net()), [REQUESTS[:4]], dataset, shard=(0, 2)).to_json()
    good = observe(from_proto(small_net()), [REQUESTS], dataset, shard=(0, 2)).to_json()
    for text in (other, good[:-9], "", "[" * 5000, good.replace('"counts":{', '"counts":{"c1":"eJw=",')):
        kept.write_text(text)
        assert calibrate(from_proto(small_net()), REQUESTS, dataset, checkpoint=kept).to_json() == whole


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 5000])
def test_other_texts_are_no_parts(text: str) -> None:
    with pytest.raises(QdslError, match="calibration-parts"):
        Observations.from_json(text)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ({"version": 2}, "it is of version 2, this program reads version"),
        ({"total": 12}, "samples that the dataset does not have"),
        ({"done": [11]}, "samples that the dataset does not have"),
        ({"done": ["1"]}, "done[0]: expected a whole number from 0, found '1'"),
        ({"digests": "?"}, "digests: "),
        ({"digests": "AAAA"}, "digests: "),
        ({"records": {"a": [[], []]}}, "records.a[0]: expected at least 1, found 0"),
        ({"records": {"a": [[[0, "1"]], [[0, 1.0]]]}}, "records.a[0][0][1]: expected a number, found '1'"),
        ({"means": {"a": ["x", "0", 1]}}, "means.a: "),
        ({"counts": {"a": "AAAA"}}, "counts.a: "),
        ({"counts": {"a": "eJw="}}, "counts.a: not the counters of one tensor"),
        ({"more": 1}, "unknown key `more`"),
    ],
)
def test_a_damaged_part_is_told_with_the_place(damage: dict[str, Any], told: str, whole_part: str) -> None:
    assert Observations.from_json(whole_part).to_json() == whole_part
    with pytest.raises(QdslError) as caught:
        Observations.from_json(json.dumps(json.loads(whole_part) | damage))
    (found,) = caught.value.diagnostics
    assert found.code == "calibration-parts" and told in found.label


@pytest.fixture(scope="module")
def whole_part(dataset: Any) -> str:
    return observe(from_proto(small_net()), [REQUESTS], dataset, shard=(0, 2)).to_json()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, dataset: Any, whole: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "SAVE_EVERY", 0.0)
        kept = tmp_path / "file" / "state.json"
        assert calibrate(from_proto(small_net()), REQUESTS, dataset, checkpoint=kept).to_json() == whole


KILLED = """
import os, signal, sys
from pathlib import Path
import qdsl.data
from qdsl.calibrate import running
sys.path.insert(0, {tests!r})
from test_calibrate_parts import REQUESTS, from_proto, rows, small_net, noise
running.SAVE_EVERY = 0.0
def progress(done, total, rate):
    if done == 5:
        os.kill(os.getpid(), signal.SIGKILL)
root = Path({root!r})
running.calibrate(from_proto(small_net()), REQUESTS, rows(root, noise(11, 3, 32, 32)), workers=2, progress=progress,
                    checkpoint=root / "state.json")
"""


@pytest.mark.slow
def test_a_killed_calibration_goes_on_to_the_same_bytes(tmp_path: Path, whole: str) -> None:
    tests = Path(__file__).parent
    code = KILLED.format(tests=str(tests), root=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", code], cwd=tests.parent, check=False)
    assert ended.returncode == -signal.SIGKILL
    seen = Observations.from_json((tmp_path / "state.json").read_text())
    assert 0 < len(seen.done) < 11
    values = np.load(tmp_path / "calib.npz")["images"]
    again = qdsl.data.open(
        data_spec("npz", tmp_path / "calib.npz"), (), {"images": ("float32", (1, *values.shape[1:]))}
    )
    told: list[int] = []
    found = calibrate(
        from_proto(small_net()),
        REQUESTS,
        again,
        checkpoint=tmp_path / "state.json",
        progress=lambda done, total, rate: told.append(done),
    )
    assert found.to_json() == whole
    assert told[0] == len(seen.done) + 1
