"""Fixtures that every test may use: goldens, and the real models and images kept beside a checkout."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does: no test is about time.
settings.register_profile("qdsl", deadline=None)
settings.load_profile("qdsl")

# Tests run side by side: threads of torch beside them do nothing but wait for one another, at full load.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hundreds of tests start an interpreter: where no byte code is kept, each of them compiles all of qdsl again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).resolve().parent.parent
GOLDENS = ROOT / "tests" / "goldens"
TESTDATA = ROOT.parent / "shared" / "testdata"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regen", action="store_true", help="write the goldens anew; then read the diff")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What collecting makes lives to the end: to look through it for garbage, again and again, takes a tenth of the
    run."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test pulls the plug: nothing waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def fewer_resamples() -> Iterator[None]:
    """What is measured beside float gets its intervals from fewer draws: a thousand take longer than all else that is
    done with a small network. What intervals are is tested in test_metrics_bootstrap.py."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("qdsl.harness.evaluate", "qdsl.allocate.evaluating"):
            patch.setattr(import_module(name), "RESAMPLES", 100)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """A session that is opened without options starts a thread for every core, which waits for work at full load: a run
    takes nearly twice the CPU, and other tests wait for it."""
    import onnxruntime

    opened = onnxruntime.InferenceSession.__init__

    def alone(self: Any, model: Any, sess_options: Any = None, *args: Any, **more: Any) -> None:
        if sess_options is None:
            sess_options = onnxruntime.SessionOptions()
            sess_options.intra_op_num_threads = 1
        opened(self, model, sess_options, *args, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime.InferenceSession, "__init__", alone)
        yield


@pytest.fixture(autouse=True)
def off_board(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wherever its compiler and QEMU are, emitted C is built for a board and run in tests marked `board` alone."""
    from qdsl.targets.stm32.emulated import installed

    if request.node.get_closest_marker("board") is None:
        monkeypatch.setattr(installed, "place", lambda name: None)
        installed.tools.cache_clear()
    yield
    installed.tools.cache_clear()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("plan/yolov8n.txt", text)` compares with tests/goldens/plan/yolov8n.txt, or writes it under --regen."""
    regen = bool(request.config.getoption("--regen"))

    def check(name: str, text: str) -> None:
        path = GOLDENS / name
        text = text.rstrip("\n") + "\n"
        if regen:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"no golden {name}: run `pytest --regen` and read what it wrote"
        assert text == path.read_text(encoding="utf-8"), f"golden {name} differs; if that is meant: `pytest --regen`"

    return check


@pytest.fixture
def ort_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of targets as if ONNX Runtime were the only one: for what is said of those that are not there."""
    from qdsl.targets import TARGETS

    for name in TARGETS.keys() - {"ort"}:
        monkeypatch.delitem(TARGETS, name)


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of real models and labelled images; skips where it is absent."""
    if not TESTDATA.is_dir():
        pytest.skip("the folder of real models and images (../shared/testdata) is not here")
    return TESTDATA
