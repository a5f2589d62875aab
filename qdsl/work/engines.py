"""Where cells of a sweep and shards of a calibration run: processes of this machine, or workers of a Ray cluster. The
commands are the same."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from qdsl.diag import Diagnostic, QdslError, nearest
from qdsl.spec import install_extra

_TRIES = 2  # a process that was killed from outside is started once more


class Job(NamedTuple):
    """A command, the file that gets what it says on the way, and the folder that it runs in."""

    name: str
    words: tuple[str, ...]
    log: str
    folder: str


class Finished(NamedTuple):
    """How a job ended: its exit code, and for a failed one what it said first."""

    name: str
    code: int
    reason: str


Engine = Callable[[Sequence[Job]], Iterator[Finished]]


def engine(name: str, workers: int) -> Engine:
    """The engine called `name`, for so many jobs at a time. Raises QdslError sweep-engine."""
    if name == "local":
        return lambda jobs: _local(jobs, workers)
    if name == "ray":
        return _ray(workers)
    close = nearest(name, ("local", "ray")) or ("local", "ray")
    help = (f"the engines are {' and '.join(f'`{word}`' for word in close)}",)
    raise QdslError([Diagnostic("sweep-engine", f"there is no engine `{name[:80]}`", help=help)])


def run_job(job: Job) -> Finished:
    """Run a command to its end. One that a signal ends is started once more."""
    code = 1
    printed = b""
    for _ in range(_TRIES):
        with Path(job.log).open("wb") as log:
            done = subprocess.run(
                job.words,
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=job.folder,
                check=False,
            )
        code, printed = done.returncode, done.stdout
        if code >= 0:
            break
    return Finished(job.name, code, "" if code in (0, 4) else _reason(code, printed, job.log))


def _reason(code: int, printed: bytes, log: str) -> str:
    """The first error that a failed process tells."""
    if code < 0:
        return f"its process was ended by signal {-code}, twice"
    try:
        told = json.loads(printed)["diagnostics"]
        return next(f"error[{d['code']}]: {d['headline']}" for d in told if d["severity"] == "error")
    except (ValueError, KeyError, TypeError, StopIteration):
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
        return (lines or [f"exit code {code}"])[-1][:300]


def _local(jobs: Sequence[Job], workers: int) -> Iterator[Finished]:
    """Jobs as they end. Left early, what waits is not begun, and what runs comes to its end."""
    with ThreadPoolExecutor(workers, thread_name_prefix="qdsl-job") as pool:
        try:
            for future in as_completed([pool.submit(run_job, job) for job in jobs]):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _ray(workers: int) -> Engine:
    try:
        import ray
    except ImportError:
        headline = "the engine `ray` needs the package ray"
        help = (install_extra("distributed"),)
        raise QdslError([Diagnostic("sweep-engine", headline, help=help)]) from None

    def run(jobs: Sequence[Job]) -> Iterator[Finished]:
        own = not ray.is_initialized()
        if own:
            # An address in the environment joins that cluster; else one is started here.
            here: dict[str, Any] = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers}
            ray.init(logging_level=logging.ERROR, include_dashboard=False, log_to_driver=False, **here)
        try:
            # A task whose worker dies is given to another one.
            task = ray.remote(num_cpus=1, max_retries=3)(run_job)
            left = [task.remote(job) for job in jobs]
            while left:
                done, left = ray.wait(left)
                yield from ray.get(done)
        finally:
            if own:
                ray.shutdown()

    return run
