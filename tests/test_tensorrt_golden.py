"""Inputs and golden outputs beside an emitted model: what polygraphy reads, and what numpy does."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from qdsl.targets.tensorrt.golden import MOST_SAMPLES, Golden, GoldenSample, tolerances, write_golden

NAMES = ("x", "/model/out:0", "../up", "file")


def sample(seed: int, size: int = 3) -> GoldenSample:
    rng = np.random.default_rng(seed)
    inputs = {name: rng.standard_normal((2, size), np.float32) for name in NAMES}
    outputs = {"y": rng.standard_normal((size,)).astype(np.float16), "label": np.array([seed], np.int64)}
    return GoldenSample(inputs, outputs)


def decoded(found: dict[str, str]) -> NDArray[Any]:
    assert found["polygraphy_class"] == "ndarray"
    array: NDArray[Any] = np.load(io.BytesIO(base64.b64decode(found["array"], validate=True)), allow_pickle=False)
    return array


def test_samples_are_written_as_arrays_and_as_polygraphy_reads_them(tmp_path: Path) -> None:
    samples = [sample(0), sample(1)]
    golden = write_golden(tmp_path, samples)
    assert golden.samples == 2 and {path.name for path in golden.files} == {path.name for path in tmp_path.iterdir()}
    feeds = json.loads((tmp_path / "inputs.json").read_text(encoding="utf-8"))
    results = json.loads((tmp_path / "golden.json").read_text(encoding="utf-8"))
    ((_, iterations),) = results["lst"]
    for each, feed, iteration in zip(samples, feeds, iterations, strict=True):
        for name, array in each.inputs.items():
            np.testing.assert_array_equal(decoded(feed[name]), array, strict=True)
        for name, array in each.outputs.items():
            np.testing.assert_array_equal(decoded(iteration["outputs"][name]["values"]), array, strict=True)
    with np.load(tmp_path / "inputs.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["1:%2Fmodel%2Fout%3A0"], samples[1].inputs["/model/out:0"], strict=True)
    with np.load(tmp_path / "golden.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"0:y", "0:label", "1:y", "1:label"}


def test_no_name_of_a_model_leads_out_of_the_archive(tmp_path: Path) -> None:
    write_golden(tmp_path, [sample(0)])
    with zipfile.ZipFile(tmp_path / "inputs.npz") as archive:
        assert all("/" not in name and "\\" not in name for name in archive.namelist())


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write_golden(folder, [sample(0), sample(1)])
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_as_many_samples_are_kept_as_fit_and_never_none(tmp_path: Path) -> None:
    assert write_golden(tmp_path, (sample(seed) for seed in range(9))).samples == MOST_SAMPLES
    assert write_golden(tmp_path, (sample(seed, 1000) for seed in range(9)), most=175_000).samples == 2
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 175_000
    for most in (120_000, 1):
        assert write_golden(tmp_path, (sample(seed, 1000) for seed in range(9)), most=most).samples == 1
    assert write_golden(tmp_path / "nowhere", []) == Golden()


def test_a_tolerance_is_a_part_of_the_largest_finite_value() -> None:
    outputs = {"y": np.array([1.0, -50.0, np.nan, np.inf]), "zero": np.zeros(3), "none": np.zeros((0, 4))}
    assert tolerances([outputs]) == {"y": 1.0, "zero": 1e-6, "none": 1e-6}
    assert tolerances([{"y": np.array([0.1234])}, {"y": np.array([0.6172])}]) == {"y": 0.013}


def test_types_that_numpy_lacks_are_written_as_float32(tmp_path: Path) -> None:
    narrow = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    write_golden(tmp_path, [GoldenSample({"x": narrow}, {"y": np.array(True)})])
    (feed,) = json.loads((tmp_path / "inputs.json").read_text(encoding="utf-8"))
    np.testing.assert_array_equal(decoded(feed["x"]), narrow.astype(np.float32), strict=True)


@pytest.mark.parametrize("array", [np.float32(3), np.zeros((2, 3), order="F"), np.zeros((4, 4))[::2]])
def test_shapes_stay_as_they_are(array: NDArray[Any], tmp_path: Path) -> None:
    write_golden(tmp_path, [GoldenSample({"x": np.asarray(array)}, {"y": np.asarray(array)})])
    with np.load(tmp_path / "inputs.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["0:x"], np.asarray(array), strict=True)
