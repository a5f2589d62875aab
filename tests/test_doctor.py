"""`qdsl doctor`: what is here, what is not and how to get it, what is broken.

Programs of NVIDIA's are stood in for by small scripts that answer as theirs do: they show which way is taken, nothing
of what TensorRT does.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import board_target
import pytest

import qdsl
from qdsl.cli import main
from qdsl.diag import QdslError
from qdsl.engines.rtx import places
from qdsl.spec.abilities import DEEDS, Abilities
from qdsl.targets import TARGETS, probing
from qdsl.targets.stm32.emulated import installed as cortex_tools
from qdsl.targets.tensorrt import abilities, installed

ROOT = Path(__file__).resolve().parent.parent
Put = Callable[[str, str], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """A machine without NVIDIA's software, onto whose search path programs can be put."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("QDSL_RTX", str(tmp_path / "rtx"))
    monkeypatch.delenv(installed.PYTHON, raising=False)
    monkeypatch.setattr(places, "MODULE", "no_such_rtx_module")
    monkeypatch.setattr(installed, "_TRTEXEC", tmp_path / "nowhere")
    monkeypatch.setattr(installed, "_BOARD", tmp_path / "board")
    monkeypatch.setattr(installed, "_pythons", lambda: iter([folder / "python-with-tensorrt"]))

    def write(name: str, body: str) -> Path:
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
        return folder / name

    for cached in (installed.installed, installed.gpus, probing.onnxruntime):
        cached.cache_clear()
    yield write
    for cached in (installed.installed, installed.gpus, probing.onnxruntime):
        cached.cache_clear()


GPU = 'echo "NVIDIA A10, 580.65.06, 8.6"'
TRTEXEC = 'echo "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help"'
NO_ENGINE = " (CUDA's figures are no engine's, and decide nothing)"
MODULE = 'case "$2" in *find_spec*) exit 0;; *) echo 11.4.0.106;; esac'


def tensorrt() -> Abilities:
    (found,) = qdsl.doctor("tensorrt").targets
    return found.abilities


@pytest.mark.usefixtures("put")
def test_every_target_of_the_index_says_all_that_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told["targets"]] == sorted(TARGETS)
    for each in told["targets"]:
        assert set(each["abilities"]) == set(DEEDS)
        assert all(ability["why"] for ability in each["abilities"].values())
        assert all(ability["able"] or ability["get"] for ability in each["abilities"].values())
    assert told["machine"]["processor"] and told["broken"] == []
    assert "board" not in {each["name"] for each in told["targets"]}


@pytest.mark.usefixtures("put")
def test_a_machine_with_neither_gpu_nor_tensorrt_emits_and_says_where_to_build(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = tensorrt()
    assert {deed: ability.able for deed, ability in found.items()} == {
        "emit": True,
        "check": False,
        "build": False,
        "run": False,
        "measure": False,
    }
    assert "python -m qdsl.engines.rtx.get" in found["check"].get and "build_engine.py" in found["build"].get
    assert main(["doctor", "--target", "tensorrt"]) == 0
    text = capsys.readouterr().out
    assert "build    no      no NVIDIA GPU is here" in text and text.count("carry the directory") == 1
    assert "ONNX Runtime (CPU" not in text


@pytest.mark.parametrize(
    ("programs", "able", "says"),
    [
        ({"nvidia-smi": GPU}, False, "neither the module `tensorrt` nor `trtexec` is here, for NVIDIA A10"),
        ({"trtexec": TRTEXEC}, False, "no NVIDIA GPU is here (TensorRT 10.3.0 is)"),
        ({"nvidia-smi": GPU, "trtexec": TRTEXEC}, True, "trtexec 10.3.0, on NVIDIA A10 (driver 580.65.06, compute"),
        ({"nvidia-smi": GPU, "python-with-tensorrt": MODULE}, True, "module tensorrt 11.4.0.106, on NVIDIA A10"),
        ({"nvidia-smi": GPU, "trtexec": TRTEXEC, "python-with-tensorrt": MODULE}, True, "module tensorrt 11.4.0.106"),
    ],
)
def test_what_builds_is_told_with_its_version_and_gpu(
    put: Put, programs: dict[str, str], able: bool, says: str
) -> None:
    for name, body in programs.items():
        put(name, body)
    found = tensorrt()
    assert (found["build"].able, found["run"].able, found["measure"].able) == (able,) * 3
    assert says in found["build"].why
    assert bool(found["build"].get) is not able


@pytest.mark.parametrize(
    ("providers", "programs", "says"),
    [
        (("CPU",), {"trtexec": TRTEXEC}, "`profile_engine.py` beside the artifact"),
        (("Tensorrt", "CPU"), {}, "`qdsl profile` by ONNX Runtime's TensorRT provider"),
        (("CUDA",), {}, f"`qdsl profile` by ONNX Runtime's CUDA provider{NO_ENGINE}"),
        (
            ("Tensorrt", "CUDA", "CPU"),
            {"trtexec": TRTEXEC},
            "`profile_engine.py` beside the artifact; `qdsl profile` by ONNX Runtime's TensorRT and CUDA providers"
            + NO_ENGINE,
        ),
    ],
)
def test_what_times_an_artifact_is_told_one_beside_the_other(
    put: Put, providers: tuple[str, ...], programs: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = probing.OnnxRuntime("1.32.0", tuple(f"{each}ExecutionProvider" for each in providers))
    monkeypatch.setattr(abilities, "onnxruntime", lambda: found)
    for name, body in {"nvidia-smi": GPU, **programs}.items():
        put(name, body)
    measure = tensorrt()["measure"]
    assert measure.able and measure.why.startswith("on NVIDIA A10 (") and measure.why.endswith(f"): {says}")


def test_a_jetson_has_its_gpu_on_the_board(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "board").write_text("NVIDIA Jetson Orin Nano Developer Kit\0")
    (tmp_path / "release").write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n")
    monkeypatch.setattr(installed, "_L4T", tmp_path / "release")
    put("trtexec", TRTEXEC)
    assert "on NVIDIA Jetson Orin Nano Developer Kit (driver L4T 36.4.3)" in tensorrt()["build"].why


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("nvidia-smi", "echo 'Failed to initialize NVML' >&2; exit 9", "`nvidia-smi` fails: Failed to initialize NVML"),
        ("trtexec", "echo 'libnvinfer.so.10: cannot open' >&2; exit 127", "does not work: libnvinfer.so.10"),
        ("python-with-tensorrt", MODULE.replace("echo 11.4.0.106", "echo no libnvinfer >&2; exit 1"), "no libnvinfer"),
    ],
)
def test_what_is_installed_and_fails_is_broken(
    put: Put, name: str, body: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(name, body)
    assert main(["doctor", "--target", "tensorrt"]) == 1
    assert "BROKEN" in (text := capsys.readouterr().out) and says in text


@pytest.mark.usefixtures("put")
def test_an_interpreter_that_is_named_and_has_no_module_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(installed.PYTHON, sys.executable)
    assert "$QDSL_TENSORRT_PYTHON names it" in tensorrt()["build"].why


def test_an_onnxruntime_that_does_not_load_is_broken(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(put("python", "echo 'ImportError: no libonnxruntime' >&2; exit 1")))
    result = qdsl.doctor("ort")
    (found,) = result.targets
    assert not result.holds and "no libonnxruntime" in result.broken[0]
    assert found.abilities["emit"].able and not found.abilities["run"].able


def test_a_target_of_others_is_told_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board_target.install(monkeypatch, tmp_path)
    (found,) = qdsl.doctor("board").targets
    assert found.abilities["emit"].able and found.abilities["build"].get == "buy a board"


def test_a_target_that_is_not_there_is_an_error() -> None:
    with pytest.raises(QdslError) as caught:
        qdsl.doctor("tensort")
    assert caught.value.diagnostics[0].code == "target-absent"


def test_nothing_of_the_folder_at_hand_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe that was brought from elsewhere may lie beside modules of such names."""
    for name in ("tensorrt", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')\n__version__ = '10.3.0'\n")
    monkeypatch.chdir(tmp_path)
    for name in ("tensorrt", "onnxruntime"):
        code = f"import {name}; print({name}.__version__)"
        assert "10.3.0" not in probing.ask_python(Path(sys.executable), code).text
    assert not (tmp_path / "was_run").exists()


@pytest.mark.slow
def test_nothing_heavy_is_loaded_here() -> None:
    code = "import sys, qdsl.cli; qdsl.cli.main(['doctor', '--json']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"onnxruntime", "torch", "ray", "av", "tensorrt_rtx_bindings"} & set(done.stderr.split())


def stm32() -> Abilities:
    (found,) = qdsl.doctor("stm32").targets
    return found.abilities


def test_c_for_a_microcontroller_is_emitted_anywhere_and_says_what_builds_and_runs_it(
    put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cortex_tools, "place", shutil.which)
    found = stm32()
    assert {deed: found[deed].able for deed in ("emit", "check", "build", "run", "measure")} == {
        "emit": True,
        "check": False,
        "build": False,
        "run": False,
        "measure": False,
    }
    assert "apt-get install" in found["build"].get and "qemu-system-arm" in found["run"].get
    assert "its integer graph runs on this machine" in found["run"].why
    for name, says in (("cc", "cc 12"), ("arm-none-eabi-gcc", "gcc 12.2.1"), ("qemu-system-arm", "QEMU 7.2.22")):
        put(name, f"echo '{says}'")
    cortex_tools.tools.cache_clear()
    found = stm32()
    assert all(found[deed].able for deed in ("check", "build", "run"))
    assert found["check"].why.startswith("cc 12 ") and "qemu-system-arm 7.2.22" in found["run"].why


def test_a_compiler_that_does_not_work_is_broken(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cortex_tools, "place", shutil.which)
    put("arm-none-eabi-gcc", "echo 'no such library' >&2; exit 1")
    cortex_tools.tools.cache_clear()
    found = stm32()
    assert found["build"].broken and found["run"].broken and "no such library" in found["build"].why
    assert not qdsl.doctor("stm32").holds
