"""Several processes and one folder: names of their own, one at a time, and nothing left of those that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from qdsl.calibrate.checkpoint import Checkpoint
from qdsl.diag import QdslError
from qdsl.lang.write import replace
from qdsl.spec.aside import aside, file_aside, folder_aside, forget_dead, replace_file, replace_folder
from qdsl.work.occupying import occupied


def ended() -> int:
    """The id of a process that is gone."""
    done = subprocess.Popen([sys.executable, "-c", "pass"])
    done.wait()
    return done.pid


def silent(text: str) -> None:
    pytest.fail(f"nobody has to wait: {text}")


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*"))


def test_two_writers_never_share_a_name(tmp_path: Path) -> None:
    names = {aside(tmp_path / "model.onnx") for _ in range(200)}
    assert len(names) == 200
    assert all(path.parent == tmp_path and str(os.getpid()) in path.name for path in names)


def test_a_name_that_fits_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    replace_file(path, b"whole")
    assert path.read_bytes() == b"whole" and not hidden(tmp_path)


def test_a_file_keeps_its_permissions_and_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.q"
    path.write_text("recipe  r\n")
    path.chmod(0o640)
    replace(path, "recipe r\n")
    assert path.stat().st_mode & 0o7777 == 0o640
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "folder", b"text")
    assert not hidden(tmp_path)


def test_many_threads_write_one_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    texts = [str(number) * 20_000 for number in range(8)]
    writers = [
        threading.Thread(target=lambda text=text: [Checkpoint(path).save(text) for _ in range(10)]) for text in texts
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text() in texts and not hidden(tmp_path)


@pytest.mark.parametrize("before", ["nothing", "a folder", "a file"])
def test_a_folder_takes_the_place_of_whatever_is_there(before: str, tmp_path: Path) -> None:
    place = tmp_path / "bench"
    if before == "a folder":
        place.mkdir()
        (place / "old").touch()
    elif before == "a file":
        place.touch()
    with folder_aside(place) as made:
        (made / "new").touch()
        replace_folder(place, made)
    assert [path.name for path in place.iterdir()] == ["new"] and not hidden(tmp_path)


def test_only_what_dead_processes_left_goes(tmp_path: Path) -> None:
    dead = ended()
    gone = [f".model.onnx.{dead}.tmp", f".plan.json.{dead}-0a1b2c3d.tmp", ".emit-x1y2z3", ".bench.tmp"]
    stays = [f".model.onnx.{os.getpid()}-0a1b2c3d.tmp", ".git", ".gitignore", "model.onnx", "notes.tmp", ".notes.tmp"]
    for name in gone[:2] + stays:
        (tmp_path / name).touch()
    for name in gone[2:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "inside").touch()
    forget_dead(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)


def test_beside_a_recipe_only_what_belongs_to_one_file_goes(tmp_path: Path) -> None:
    dead = ended()
    mine, other = tmp_path / f".r.lock.{dead}-00000000.tmp", tmp_path / f".s.lock.{dead}-00000000.tmp"
    mine.touch()
    other.touch()
    forget_dead(tmp_path, "r.lock")
    assert not mine.exists() and other.exists()


def test_who_comes_second_waits_and_is_told(tmp_path: Path) -> None:
    folder, told, order = tmp_path / "build" / "r", [], []
    waits = threading.Event()

    def second() -> None:
        with occupied(folder, lambda text: (told.append(text), waits.set())):
            order.append("second")

    thread = threading.Thread(target=second)
    with occupied(folder, silent):
        thread.start()
        assert waits.wait(timeout=10)
        (folder / "made").touch()
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert len(told) == 1 and str(folder) in told[0]


def test_a_killed_process_holds_nothing_and_what_it_left_goes(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    text = (
        "import sys, time; from pathlib import Path\n"
        "from qdsl.work.occupying import occupied; from qdsl.spec.aside import folder_aside\n"
        "folder = Path(sys.argv[1])\n"
        "with occupied(folder, print), folder_aside(folder / 'ort' / 'model.onnx') as aside:\n"
        "    (aside / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", text, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert hidden(folder)
    with occupied(folder, silent):
        assert not hidden(folder)


def test_a_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    with occupied(tmp_path / "build" / "r", silent):
        assert (tmp_path / "build" / "r").is_dir()
    assert not list(tmp_path.iterdir())


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "build").touch()
    with pytest.raises(QdslError, match="cannot be written") as raised, occupied(tmp_path / "build" / "r", silent):
        pass
    assert [d.code for d in raised.value.diagnostics] == ["artifact-write"]


def test_what_is_aside_goes_whatever_happens(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), file_aside(tmp_path / "a") as made:
        made.touch()
        raise KeyboardInterrupt
    assert not hidden(tmp_path)
