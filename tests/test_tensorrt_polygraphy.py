"""The golden files beside an emitted model, read by polygraphy itself (Apache-2.0, no dependency of qdsl): its ONNX
Runtime has to give the outputs that stand there."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from compile_tools import HEAD, project

import qdsl
from qdsl.targets.tensorrt.golden import MOST_SAMPLES, GoldenSample, write_golden

pytestmark = pytest.mark.slow

VERSION = "0.53.6"
RECIPE = HEAD.replace("uint8 affine per_tensor", "int8 symmetric per_tensor").replace("target ort", "target tensorrt")


@pytest.fixture(scope="module")
def polygraphy(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command, of this environment, else of one over it."""
    if find_spec("polygraphy") is not None:
        return [sys.executable, "-m", "polygraphy"]
    folder = tmp_path_factory.mktemp("polygraphy")
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--target",
        str(folder),
        f"polygraphy=={VERSION}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"polygraphy cannot be installed: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    start = f"import sys; sys.path.append({str(folder)!r}); from polygraphy.tools._main import main; sys.exit(main())"
    return [sys.executable, "-c", start]


@pytest.fixture(scope="module")
def emitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("emitted")
    recipe = project(folder / "demo", head=RECIPE)
    (found,) = qdsl.compile(recipe, out=folder / "build").targets
    return found.emitted.model.parent


def run(polygraphy: list[str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    held = ["--load-inputs", "inputs.json", "--load-outputs", "golden.json", "--check-error-stat", "mean"]
    command = [*polygraphy, "run", "model.onnx", "--onnxrt", *held, *words]
    environment = {**os.environ, "POLYGRAPHY_AUTOINSTALL_DEPS": "0"}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=280, check=False, env=environment
    )


def tolerance(folder: Path) -> str:
    """The one that the README gives."""
    return (folder / "README.md").read_text(encoding="utf-8").split("--atol ")[1].split("`")[0]


def test_the_outputs_of_its_onnx_runtime_are_the_golden_ones(polygraphy: list[str], emitted: Path) -> None:
    done = run(polygraphy, emitted, "--atol", tolerance(emitted))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Passed: {MOST_SAMPLES}/{MOST_SAMPLES} iterations" in done.stdout, done.stdout


def test_outputs_of_another_model_are_not(polygraphy: list[str], emitted: Path, tmp_path: Path) -> None:
    """The same shapes with other values: what is read is compared, too."""
    for name in ("model.onnx", "inputs.json", "README.md"):
        (tmp_path / name).write_bytes((emitted / name).read_bytes())
    with np.load(emitted / "golden.npz") as stored:
        wrong = [GoldenSample({}, {"y": stored[f"{at}:y"] + 10}) for at in range(MOST_SAMPLES)]
    (tmp_path / "wrong").mkdir()
    write_golden(tmp_path / "wrong", wrong)
    (tmp_path / "golden.json").write_bytes((tmp_path / "wrong" / "golden.json").read_bytes())
    done = run(polygraphy, tmp_path, "--atol", tolerance(emitted))
    assert done.returncode == 1 and "FAILED" in done.stdout, done.stdout
