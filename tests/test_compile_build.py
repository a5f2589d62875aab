"""`compile --build`: an engine of the artifact, where a GPU and TensorRT are here, and what it decides.

The machine is stood in for: strict fakes of `trtexec` and of an interpreter with the module, which show which steps are
run, with what, and what becomes of the files that they leave. Nothing of what TensorRT does; layers and times are
SYNTHETIC, in the form of 10.x.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compile_tools import HEAD, project
from test_report_engines import RUN, layers

import qdsl
from qdsl.api import CompileResult
from qdsl.cli import main
from qdsl.targets.results import Built, NotHere
from qdsl.targets.tensorrt import build as building
from qdsl.targets.tensorrt.installed import Gpu, Installed, Tool

RECIPE = HEAD.replace("uint8 affine", "int8 symmetric")
BLOCK = 'target tensorrt { version "10.3"; require qdq survives; require latency <= 9 ms }'
GPU = Gpu("NVIDIA A10", "580.65.06", "8.6")
# Takes the one line of each step that 10.3 takes; a word that is not expected ends it.
FAKE = """#!/bin/sh
echo "$(basename "$0") $*" >> told
[ ! -f broken ] || { echo "no kernel for this GPU" >&2; exit 1; }
touch timing.cache
case "$*" in
*--saveEngine=engine.plan*|build_engine.py*--timing-cache=timing.cache*) touch engine.plan ;;
*--loadEngine=engine.plan*|profile_engine.py*) cp kept.times.json times.json; cp kept.layers.json layers.json ;;
*) echo "unexpected: $*" >&2; exit 2 ;;
esac
"""
TAKES = ("endComputeMs", "computeMs", "latencyMs")
Here = Callable[..., None]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Here:
    """Makes a machine with a GPU and some of the programs."""

    def make(*names: str, version: str = "10.3.0") -> None:
        tools: dict[str, Tool] = {}
        for name in names:
            (tmp_path / name).write_text(FAKE)
            (tmp_path / name).chmod(0o755)
            tools[name] = Tool(tmp_path / name, version)
        found = Installed((GPU,), tools.get("python"), tools.get("trtexec"))
        monkeypatch.setattr(building, "installed", lambda: found)

    return make


def compiled(folder: Path, block: str = BLOCK, **more: Any) -> CompileResult:
    recipe = project(folder, head=RECIPE.replace("target ort", block))
    return qdsl.compile(recipe, out=folder / "build", lock=False, **more)


def prepared(folder: Path, milliseconds: float = 2.0, floats: str = "") -> Path:
    """A build whose fakes will answer with times and with layers, one of them perhaps in floats."""
    directory = compiled(folder).directory
    artifact = directory / "tensorrt"
    (artifact / "kept.layers.json").write_text(json.dumps(layers(directory, floats)))
    (artifact / "kept.times.json").write_text(json.dumps([RUN | dict.fromkeys(TAKES, milliseconds)] * 40))
    return artifact


def verdicts(result: CompileResult) -> dict[str, str]:
    assert result.settled is not None
    return {budget.text: budget.verdict for build in result.settled.builds for budget in build.budgets}


def steps(artifact: Path) -> list[str]:
    return (artifact / "told").read_text().splitlines()


def test_without_a_gpu_it_says_what_was_not_run_and_how_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "installed", lambda: Installed((), None, None))
    result = compiled(tmp_path, build=True)
    (found,) = result.built
    assert isinstance(found.found, NotHere) and not found.failed and result.holds
    assert [budget.verdict for budget in result.targets[0].budgets] == ["undecided", "undecided"]
    words = ["compile", str(tmp_path / "demo.q"), "--out", str(tmp_path / "build"), "--no-lock", "--build"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert "build      tensorrt: NOT BUILT: no NVIDIA GPU is here; to get it: " in told.out + told.err
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["built"][0]["built"] is False


@pytest.mark.parametrize(
    ("names", "by", "first", "second"),
    [
        (("trtexec",), "trtexec 10.3.0", "trtexec --onnx=model.onnx", "trtexec --loadEngine=engine.plan"),
        (("python",), "module tensorrt 10.3.0", "python build_engine.py", "python profile_engine.py"),
        pytest.param(
            *(("python", "trtexec"), "module tensorrt 10.3.0", "python build_engine.py", "python profile_engine.py"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_commands_beside_the_artifact_are_run_and_the_engine_decides(
    tmp_path: Path, here: Here, names: tuple[str, ...], by: str, first: str, second: str
) -> None:
    artifact = prepared(tmp_path)
    here(*names)
    result = compiled(tmp_path, build=True)
    (found,) = result.built
    assert isinstance(found.found, Built) and not found.failed
    assert found.found.by == f"{by} on NVIDIA A10 (driver 580.65.06, compute capability 8.6)"
    told = steps(artifact)
    assert len(told) == 2 and told[0].startswith(first) and told[1].startswith(second)
    assert (artifact / "engine.plan").is_file() and (artifact / "timing.cache").is_file()
    assert verdicts(result) == {"qdq survives": "holds", "latency <= 9 ms": "holds"}
    assert result.holds and not result.undecided
    assert "NVIDIA A10" in result.report.read_text()
    assert result.settled is not None
    (latency,) = (each for each in result.settled.builds[0].budgets if each.metric == "latency")
    assert ("by the word of" in latency.source) == ("python" in names), "the fake leaves no build.json, trtexec none"


@pytest.mark.parametrize(
    ("milliseconds", "floats", "broken"), [(20.0, "", "latency <= 9 ms"), (2.0, "inner", "qdq survives")]
)
def test_what_an_engine_breaks_fails_the_command(
    tmp_path: Path, here: Here, milliseconds: float, floats: str, broken: str
) -> None:
    prepared(tmp_path, milliseconds, floats)
    here("trtexec")
    words = ["compile", str(tmp_path / "demo.q"), "--out", str(tmp_path / "build"), "--no-lock", "--build"]
    assert main(words) == 4
    assert verdicts(compiled(tmp_path, build=True))[broken] == "broken"


def test_a_step_that_fails_is_told_after_everything_is_written(
    tmp_path: Path, here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = prepared(tmp_path)
    here("trtexec")
    (artifact / "broken").touch()
    words = ["compile", str(tmp_path / "demo.q"), "--out", str(tmp_path / "build"), "--no-lock", "--build"]
    assert main(words) == 1
    assert "`sh commands.sh build` fails: no kernel for this GPU" in capsys.readouterr().err
    assert (tmp_path / "build" / "demo" / "report.html").is_file() and not (artifact / "engine.plan").exists()


def test_a_trtexec_of_another_major_version_is_not_run(tmp_path: Path, here: Here) -> None:
    artifact = prepared(tmp_path)
    here("trtexec", version="11.4.0")
    (found,) = compiled(tmp_path, build=True).built
    assert isinstance(found.found, NotHere) and "is of TensorRT 11.4.0" in found.found.why
    assert not (artifact / "told").exists()


@pytest.mark.parametrize("name", ["json.py", "ctypes/__init__.py", "re.so"])
def test_nothing_is_run_beside_modules_that_somebody_left_there(tmp_path: Path, here: Here, name: str) -> None:
    here("python")
    artifact = prepared(tmp_path)
    (artifact / name).parent.mkdir(exist_ok=True)
    (artifact / name).write_text("raise SystemExit(3)\n")
    (found,) = compiled(tmp_path, build=True).built
    assert isinstance(found.found, NotHere) and "beside the artifact is none of its files" in found.found.why
    assert not (artifact / "told").exists()


@pytest.mark.slow
def test_an_engine_of_an_earlier_model_goes_and_one_of_the_same_stays(tmp_path: Path) -> None:
    artifact = compiled(tmp_path).directory / "tensorrt"
    for name in ("engine.plan", "timing.cache"):
        (artifact / name).touch()
    compiled(tmp_path)
    assert (artifact / "engine.plan").exists()
    compiled(tmp_path, f"layers op Conv {{ weights int8 per_tensor }}\n{BLOCK}")
    assert not (artifact / "engine.plan").exists() and (artifact / "timing.cache").exists()
