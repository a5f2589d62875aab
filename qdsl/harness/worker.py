"""Times one model in a process of its own. Needs Python, numpy and onnxruntime, nothing of qdsl.

It loads the model, runs it `--warmup` times, writes one line of JSON about itself, and then answers each line of its
input: a number N asks for N runs, and the answer is one line with the seconds of each, the processor seconds of all,
and the memory of the process. So whoever asks can let several models take turns, each alone in its memory:

    python worker.py --model model.onnx --inputs inputs.npz --threads 1 --warmup 20
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

TURNS = 10  # that each model takes
SAMPLES = 8  # that a profile feeds in turn, or as many as a batch needs
_CPU = "CPUExecutionProvider"
_ALONE = "session.disable_cpu_ep_fallback"  # else what a provider leaves is run by the CPU, without a word
_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


class RefusedError(Exception):
    """What cannot be measured, in words for whoever started this; `build` is the model that it is about."""

    def __init__(self, reason: str, build: str = "") -> None:
        super().__init__(f"{build}: {reason}" if build else reason)
        self.reason, self.build = reason, build


# ---- in that process -------------------------------------------------------------------------------------------------


def memory() -> tuple[int | None, int | None]:
    """(now, peak) resident bytes of this process; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS:", "VmHWM:"))}
        return kib.get("VmRSS", 0) * 1024, kib.get("VmHWM", 0) * 1024
    except (OSError, ValueError):
        pass
    try:
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return None, peak * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        return None, None


def session_of(
    model: str,
    threads: int,
    entries: dict[str, str],
    optimized: str = "",
    *,
    as_written: bool = False,
    provider: str = "",
    providing: dict[str, str] | None = None,
) -> Any:
    """A session on the CPU, or on an execution provider with its options; `optimized` is where the graph that really
    runs is written, "" for nowhere. `as_written` leaves out the runtime's optimizations: every node runs as it stands
    in the file. Raises RefusedError where the provider does not load, or leaves a node: the runtime would take the CPU
    for it, and say nothing."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it tells its makers, from a thread beside what is timed
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    if as_written:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if optimized:
        options.optimized_model_filepath = optimized
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    if provider in ("", _CPU):
        return ort.InferenceSession(model, options, providers=[_CPU])
    if provider not in ort.get_available_providers():
        raise RefusedError(f"{provider} does not load")
    options.add_session_config_entry(_ALONE, "1")
    with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find; stdout is what the parent reads
        ort.preload_dlls()  # CUDA and cuDNN of Python packages, which the loader does not look for
    try:
        return ort.InferenceSession(model, options, providers=[(provider, providing or {})], enable_fallback=0)
    except Exception as error:  # onnxruntime's own types
        if "fallback to CPU EP" not in str(error):
            raise
        raise RefusedError(
            f"{provider} does not load, or leaves nodes to the CPU, which would be timed as it"
        ) from None


def measure(session: Any, feeds: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    """The seconds of each of `runs` runs, one feed after the other; the processor seconds that all of them took."""
    clock, taken = time.perf_counter, []
    before = time.process_time()
    for at in range(runs):
        feed = feeds[at % len(feeds)]
        start = clock()
        session.run(None, feed)
        taken.append(clock() - start)
    spent = time.process_time() - before
    now, peak = memory()
    return {"seconds": taken, "cpu_seconds": spent, "memory": now, "peak_memory": peak}


def serve(args: argparse.Namespace) -> int:
    """See the top of this file."""
    bare = memory()[0]
    try:
        import numpy as np

        options, providing = (dict(pair.split("=", 1) for pair in pairs) for pairs in (args.option, args.providing))
        session = session_of(args.model, args.threads, options, provider=args.provider, providing=providing)
        with np.load(args.inputs, allow_pickle=False) as stored:
            arrays = {info.name: stored[info.name] for info in session.get_inputs()}
        count = min((len(array) for array in arrays.values()), default=1)
        feeds = [{name: array[at, ...] for name, array in arrays.items()} for at in range(count)]
        measure(session, feeds, args.warmup)
    except Exception as error:  # whoever started this wants a reason, not a traceback
        print(json.dumps({"refused": " ".join(str(error).split())[:300] or type(error).__name__}), flush=True)
        return 1
    print(json.dumps({"bare_memory": bare, "loaded_memory": memory()[0]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(session, feeds, int(line))), flush=True)
    return 0


def store_feeds(path: Path, samples: list[dict[str, Any]], batch: int) -> None:
    """Write what a worker feeds its model, as an npz: per input an array [feeds, ..], where each feed has `batch` rows,
    of as many samples as that takes (the first ones again where there are fewer). Samples of another shape than the
    first are left out: a feed must not differ in what it costs."""
    import numpy as np

    def shapes(sample: dict[str, Any]) -> list[Any]:
        return [array.shape for array in sample.values()]

    alike = [sample for sample in samples if shapes(sample) == shapes(samples[0])]
    rows = next((len(array) for array in samples[0].values() if array.ndim), batch)
    each = max(1, batch // max(1, rows))
    groups = [
        [alike[(start + at) % len(alike)] for at in range(each)]
        for start in range(0, max(1, len(alike) - each + 1), each)
    ]
    # Not np.savez: an input may be called `file`.
    with zipfile.ZipFile(path, "w") as archive:
        for name in samples[0]:
            found = [
                np.concatenate([sample[name] for sample in group]) if each > 1 else group[0][name] for group in groups
            ]
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.stack(found), allow_pickle=False)


class Worker:
    """The process of one model. A context manager: it ends with the block, whatever happens."""

    def __init__(
        self,
        build: str,
        model: Path,
        inputs: Path,
        entries: dict[str, str],
        wish: dict[str, int],
        provider: str = "",
        providing: dict[str, str] | None = None,
    ) -> None:
        """`wish` has warmup and threads, `inputs` is what `store_feeds` wrote, `provider` and its options are those of
        `session_of`. Raises RefusedError where the runtime does not run the model."""
        self.build = build
        words = ["--model", model, "--inputs", inputs]
        for name in ("threads", "warmup"):
            words += [f"--{name}", wish[name]]
        for name, value in entries.items():
            words += ["--option", f"{name}={value}"]
        words += ["--provider", provider] if provider else []
        for name, value in (providing or {}).items():
            words += ["--providing", f"{name}={value}"]
        command = [sys.executable, str(Path(__file__).resolve()), *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.seconds: list[float] = []
        self.memory_runs: list[tuple[int, int]] = []
        self._cpu = 0.0
        self._peak: int | None = None
        self._energy: float | None = 0.0
        try:
            loaded = self._answer()
        except RefusedError:
            self._end()
            raise
        self._bare = loaded["bare_memory"]
        self._remember(loaded["loaded_memory"])

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *raised: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, count: int) -> None:
        assert self._process.stdin is not None
        before = joules()
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        found = self._answer()
        after = joules()
        self.seconds += found["seconds"]
        self._cpu += found["cpu_seconds"]
        self._peak = found["peak_memory"]
        self._remember(found["memory"])
        rose = before is not None and after is not None and after >= before
        self._energy = self._energy + (after or 0) - (before or 0) if rose and self._energy is not None else None

    def found(self) -> dict[str, Any]:
        """Everything about the runs so far: seconds, bytes, joules per run."""
        return {
            "seconds": self.seconds,
            "cpu": self._cpu / math.fsum(self.seconds),
            "peak_memory": self._peak,
            "bare_memory": self._bare,
            "energy": None if self._energy is None else self._energy / len(self.seconds),
            "memory_runs": self.memory_runs,
        }

    def _remember(self, held: int | None) -> None:
        if held is not None:
            self.memory_runs.append((len(self.seconds), held))

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"refused": "its process ended"}
        if "refused" in found:
            raise RefusedError(str(found["refused"]), self.build)
        return found


def joules() -> float | None:
    """The energy counter of the processor package, where the system offers it and lets it be read."""
    try:
        return int(_RAPL.read_text(encoding="ascii")) / 1e6
    except (OSError, ValueError):
        return None


def take_turns(workers: list[Worker], runs: int, heard: Any = lambda done, total: None) -> None:
    """`runs` of each worker, a tenth at a time, in alternating order, so that a machine that drifts moves all."""
    turns = min(TURNS, runs)
    done, total = 0, runs * len(workers)
    for turn in range(turns):
        count = runs // turns + (turn < runs % turns)
        for worker in workers if turn % 2 == 0 else workers[::-1]:
            worker.run(count)
            done += count
            heard(done, total)


def main() -> int:
    parser = argparse.ArgumentParser(description="Time a model, asked line by line.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--inputs", required=True, help="an npz: per input of the model one array [feeds, ..]")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as ONNX Runtime takes by itself")
    parser.add_argument("--warmup", type=int, default=20, help="runs before")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a session option")
    parser.add_argument("--provider", default="", help="ONNX Runtime's execution provider, instead of its CPU's")
    parser.add_argument("--providing", action="append", default=[], metavar="NAME=VALUE", help="an option of that")
    return serve(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
