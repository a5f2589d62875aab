"""Passing work in the system's temporary folder: gone at the end, or after the next run where a process was killed."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from qdsl.spec.scratch import forget_dead_scratch, scratch
from qdsl.work.occupying import occupied


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ended() -> int:
    """The id of a process that is gone."""
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    return done.pid


def test_a_folder_is_there_for_a_block_and_for_one_user(temporary: Path) -> None:
    with scratch() as folder:
        (folder / "below").mkdir()
        (folder / "below" / "file").touch()
        assert folder.parent == temporary and folder.stat().st_mode & 0o077 == 0
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_goes_before_the_next_build(temporary: Path, tmp_path: Path) -> None:
    text = (
        "import time; from qdsl.spec.scratch import scratch\n"
        "with scratch() as folder:\n"
        "    (folder / 'float.onnx').touch(); print('ready', flush=True); time.sleep(60)\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        (left,) = temporary.iterdir()
        forget_dead_scratch()
        assert (left / "float.onnx").is_file()  # it is at work
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert left.is_dir()
    with occupied(tmp_path / "build", pytest.fail):
        assert not left.exists()


def test_what_is_locked_linked_or_of_others_stays(temporary: Path) -> None:
    dead = ended()
    elsewhere = temporary / "mine"
    names = [f"qdsl-{dead}-locked", "qdsl-notes", f"qdsl-{os.getpid()}-alive", f"qdsl-{dead}-own.d", "tmp1x2y3z"]
    for folder in (elsewhere, *(temporary / name for name in names)):
        folder.mkdir()
        (folder / "file").touch()
    (temporary / f"qdsl-{dead}-link").symlink_to(elsewhere)
    (temporary / f"qdsl-{dead}-file").touch()
    before = sorted(temporary.iterdir())
    # As a process of another container holds it, whose number means nothing here.
    handle = os.open(temporary / f"qdsl-{dead}-locked", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    forget_dead_scratch()
    assert sorted(temporary.iterdir()) == before and (elsewhere / "file").exists()
    os.close(handle)
    forget_dead_scratch()
    assert [path for path in before if not path.exists()] == [temporary / f"qdsl-{dead}-locked"]


def test_no_temporary_folder_is_no_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    forget_dead_scratch()
