"""Models made by others, most of them odd, broken or hostile: each gives a plan and an artifact, or diagnostics."""

from __future__ import annotations

import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from odd_corpus import BUILDS, report

SECONDS = 60
MIB = 1024


def examined(file: Path, name: str, folder: Path, build: str) -> dict[str, Any]:
    """The outcome for one file, taken in a process of its own: a crash or endless work is an outcome as well."""
    context = multiprocessing.get_context("forkserver")
    # Before Python 3.12.4 the server does not get sys.path, finds nothing to preload and does not tell: then each
    # process imports everything anew.
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, sys.path))
    context.set_forkserver_preload(["odd_corpus_ready"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(file, name, folder, theirs, build))
    process.start()
    theirs.close()
    try:
        if not ours.poll(SECONDS):
            return {"file": name, "faults": [f"not done after {SECONDS} s"]}
        return dict(ours.recv())
    except EOFError:
        process.join(5)
        return {"file": name, "faults": [f"the process died: exit code {process.exitcode}"]}
    finally:
        if process.is_alive():
            process.join(2)
        if process.is_alive():
            process.kill()
        process.join()


def line(outcome: dict[str, Any]) -> str:
    """One row of the table."""
    states = f"{outcome.get('plan', '?'):28} {outcome.get('compile', '?'):28}"
    cost = f"{outcome.get('seconds', 0):5.1f} s {outcome.get('peak_mib', 0):5.0f} MiB"
    wrong = "".join(f"\n    ! {each}" for each in (*outcome.get("mismatches", ()), *outcome["faults"]))
    return f"{outcome['file']:64} {states} {cost} {outcome.get('headline', '')[:100]}{wrong}"


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("part", ["odd", "models"])
@pytest.mark.parametrize("build", sorted(BUILDS))
@pytest.mark.timeout(1800)
def test_every_file_gives_an_artifact_or_diagnostics(build: str, part: str, testdata: Path, tmp_path: Path) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    outcomes = []
    for index, file in enumerate(files_of(testdata / part)):
        folder = tmp_path / str(index)
        folder.mkdir()
        outcomes.append(examined(file, str(file.relative_to(testdata)), folder, build))
    print("\n" + "\n".join(map(line, outcomes)))  # noqa: T201 (shown under -s, and when the test fails)
    assert outcomes
    assert not [o["file"] for o in outcomes if o["faults"]]
    assert not [o["file"] for o in outcomes if o["peak_mib"] > MIB]
    assert not [o["file"] for o in outcomes if o["compile"] == "artifact" and not o["as_predicted"]]
