"""The process around a verb: closed and full streams, readers that leave, Ctrl-C, and what the system refuses."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from qdsl.cli import main
from qdsl.diag.system import refused_by_system

ROOT = Path(__file__).resolve().parent.parent
NET = """<ir_version: 8, opset_import: ["" : 17]>
g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float[4,3,1,1] w = {WEIGHTS}> { [conv] y = Conv(x, w) }"""
QDSL = f"{sys.executable} -m qdsl"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A small network with a few samples: compiled in about a second."""
    weights = ", ".join(str(0.1 * (at - 6)) for at in range(12))
    (tmp_path / "net.onnx").write_bytes(onnx.parser.parse_model(NET.replace("WEIGHTS", weights)).SerializeToString())
    np.savez(tmp_path / "calib.npz", x=np.random.default_rng(0).random((3, 3, 8, 8), np.float32))
    text = (
        'recipe r\nmodel onnx "net.onnx"\ndata calib from npz "calib.npz"\n'
        "quantize static { weights int8; activations uint8; calibrate minmax on calib }\ntarget ort\n"
    )
    path = tmp_path / "r.q"
    path.write_text(text, encoding="utf-8")
    return path


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def built(folder: Path) -> bool:
    return (folder / "build" / "r" / "report.html").is_file()


@pytest.mark.parametrize(("closing", "name"), [("2>&-", "standard error"), (">&-", "standard output")])
def test_a_closed_stream_is_told_on_the_other_before_anything_is_done(closing: str, name: str, recipe: Path) -> None:
    done = shell(f"{QDSL} compile r.q {closing}", recipe.parent)
    assert done.returncode == 1
    told = done.stdout + done.stderr
    assert f"{name} is closed" in told and len(told.splitlines()) == 1
    assert not (recipe.parent / "build").exists()


def test_closed_input_takes_nothing(recipe: Path) -> None:
    done = shell(f"{QDSL} check r.q <&-", recipe.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "r.q: fine\n", "")


def test_with_nobody_to_tell_the_exit_code_tells(recipe: Path) -> None:
    assert shell(f"{QDSL} compile r.q <&- >&- 2>&-", recipe.parent).returncode == 1


@pytest.mark.slow
def test_a_reader_that_leaves_does_not_stop_the_work(recipe: Path) -> None:
    done = shell(f"{QDSL} compile r.q 2>&1 | head -1; echo ${{PIPESTATUS[0]}}", recipe.parent)
    assert done.stdout.splitlines()[1:] == ["0"] and done.stderr == ""
    assert built(recipe.parent)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    "line", ["plan r.q >/dev/full", "check no.q 2>/dev/full", "--help >/dev/full", "plan r.q >/dev/full 2>/dev/full"]
)
def test_a_full_disk_behind_a_stream_is_an_error(line: str, recipe: Path) -> None:
    done = shell(f"{QDSL} {line}", recipe.parent)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_a_name_that_is_no_utf8_is_printed_with_escapes(recipe: Path) -> None:
    done = shell(f"mkdir $'d\\xff'; cp r.q $'d\\xff'; {QDSL} check --no-files $'d\\xff/r.q'", recipe.parent)
    assert (done.returncode, done.stdout, done.stderr) == (0, "d\\udcff/r.q: fine\n", "")


@pytest.mark.slow
def test_a_folder_that_the_runtime_cannot_name_is_refused(recipe: Path) -> None:
    done = shell(f"{QDSL} compile r.q --out $'d\\xff'", recipe.parent)
    assert done.returncode == 1
    assert "error[artifact-write]" in done.stderr and "not UTF-8" in done.stderr


INTERRUPTED_START = """import os, signal, sys
class Finder:
    def find_spec(self, name, *rest):
        if name == "qdsl.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
import qdsl.__main__
"""


def test_ctrl_c_while_the_command_is_loaded_leaves_no_traceback() -> None:
    words = [sys.executable, "-c", INTERRUPTED_START]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.15, 0.3, 0.6, 1.0, 1.5])
def test_ctrl_c_at_any_moment_ends_with_130(after: float, recipe: Path) -> None:
    words = [sys.executable, "-m", "qdsl", "compile", "r.q"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, cwd=recipe.parent, env=environment, **pipes) as process:
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    # Before the interpreter has started the signal itself ends the process; a quick machine may be done.
    assert process.returncode in (130, -signal.SIGINT, 0)
    assert "internal fault" not in err
    assert not list(recipe.parent.rglob(".*.tmp"))


def test_an_interrupt_that_became_another_exception_is_an_interrupt(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any, **settings: Any) -> None:
        raise ImportError("numpy was interrupted")

    monkeypatch.setattr("qdsl.api.plan", fails)
    monkeypatch.setattr("qdsl.cli.process.INTERRUPTS.seen", True)
    assert main(["plan", str(recipe)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (MemoryError(), "out-of-memory", "not enough memory"),
        (RuntimeError("[ONNXRuntimeError] : 6 : std::bad_alloc"), "out-of-memory", "not enough memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "out-of-memory", "not enough memory"),
        (PermissionError(13, "Permission denied", "/a/b"), "system-refused", "`/a/b`: Permission denied"),
        (OSError(24, "Too many open files"), "system-refused", "Too many open files"),
    ],
)
def test_what_the_system_refuses_is_an_error(
    fault: Exception,
    code: str,
    words: str,
    recipe: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*args: Any, **settings: Any) -> None:
        raise fault

    monkeypatch.setattr("qdsl.api.plan", fails)
    assert main(["plan", str(recipe)]) == 1
    err = capsys.readouterr().err
    assert f"error[{code}]" in err and words in err and "help: " in err


def test_a_fault_of_ours_stays_one() -> None:
    assert refused_by_system(ValueError("allocate the wind")) is None


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited as Linux does it")
@pytest.mark.parametrize("megabytes", [60, 100])
def test_little_memory_is_never_an_internal_fault(megabytes: int, recipe: Path) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "qdsl", "compile", "r.q"]
    done = subprocess.run(
        words, cwd=recipe.parent, env=environment, capture_output=True, text=True, check=False, preexec_fn=limited
    )
    assert done.returncode != 3, done.stderr
    assert not list(recipe.parent.rglob(".*.tmp"))
