"""Measures models in ONNX Runtime, on any machine. Needs Python, numpy and onnxruntime, nothing of qdsl.

In the folder that `qdsl compile` writes beside an artifact, on the device:

    python bench.py

It checks the files against bundle.json, runs the artifact and the float model on the samples there, holds their outputs
against those of the machine that compiled them, counts the operators that really run, scores labelled samples, times
both models in turns, and writes measurements.json, which `qdsl report --add` reads.

As a worker it loads one model, runs it `--warmup` times, writes one line of JSON about itself, and then answers each
line of its input: a number N asks for N runs, and the answer is one line with the seconds of each, the processor
seconds of all, and the memory of the process. So whoever asks can let several models take turns, each alone in its
memory:

    python bench.py --model model.onnx --inputs inputs.npz --threads 1 --warmup 20
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

FORMAT = 1
TURNS = 10  # that each model takes
SAMPLES = 8  # that a profile feeds in turn, or as many as a batch needs
_RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


class RefusedError(Exception):
    """What cannot be measured, in words for whoever started this; `build` is the model that it is about."""

    def __init__(self, reason: str, build: str = "") -> None:
        super().__init__(f"{build}: {reason}" if build else reason)
        self.reason, self.build = reason, build


# ---- one model in a process of its own -------------------------------------------------------------------------------


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


def session_of(model: str, threads: int, entries: dict[str, str], optimized: str = "") -> Any:
    """A session on the CPU; `optimized` is where the graph that really runs is written, "" for nowhere."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    if optimized:
        options.optimized_model_filepath = optimized
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


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
    """The worker: see the top of this file."""
    bare = memory()[0]
    try:
        import numpy as np

        session = session_of(args.model, args.threads, dict(pair.split("=", 1) for pair in args.option))
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

    def __init__(self, build: str, model: Path, inputs: Path, entries: dict[str, str], wish: dict[str, int]) -> None:
        """`wish` has warmup and threads, `inputs` is what `store_feeds` wrote. Raises RefusedError where the runtime
        does not run the model."""
        self.build = build
        words = ["--model", model, "--inputs", inputs]
        for name in ("threads", "warmup"):
            words += [f"--{name}", wish[name]]
        for name, value in entries.items():
            words += ["--option", f"{name}={value}"]
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


# ---- what ran on: the machine ----------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """The machine and the software, as far as both say so, in the order in which people ask."""
    found = {
        "processor": _processor(),
        "architecture": platform.machine(),
        "processors": str(os.cpu_count() or 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in ("onnxruntime", "numpy"):
        try:
            found[package] = __import__(package).__version__
        except ImportError:
            continue
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    board = Path("/proc/device-tree/model")
    for name, path in (("governor", governor), ("board", board)):
        try:
            found[name] = path.read_text(encoding="ascii", errors="replace").strip("\0\n ")[:80]
        except OSError:
            continue
    if hasattr(os, "getloadavg"):
        found["load"] = f"{os.getloadavg()[0]:.2f}"
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware", "cpu model")):
                return line.partition(":")[2].strip()[:120]
    except OSError:
        pass
    return platform.processor()[:120] or "unknown"


# ---- which operators really run --------------------------------------------------------------------------------------


def operators(model: bytes) -> Counter[str]:
    """How often each operator stands in the main graph of an ONNX file (protobuf: ModelProto.graph is field 7,
    GraphProto.node field 1, NodeProto.op_type field 4)."""
    found: Counter[str] = Counter()
    for graph in _fields(memoryview(model), 7):
        for node in _fields(graph, 1):
            found.update(bytes(name).decode("utf-8", "replace") for name in _fields(node, 4))
    return found


def _fields(message: memoryview, wanted: int) -> list[memoryview]:
    """The contents of a message's length-delimited fields of one number. Raises RefusedError for what is no message."""
    found, at = [], 0
    while at < len(message):
        key, at = _varint(message, at)
        kind, number = key & 7, key >> 3
        if kind == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise RefusedError("the optimized model is cut off")
            if number == wanted:
                found.append(message[at : at + length])
            at += length
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise RefusedError("the optimized model is no ONNX file")
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise RefusedError("the optimized model is no ONNX file")


# ---- the bundle ------------------------------------------------------------------------------------------------------


def prepared(stored: Any, steps: list[dict[str, Any]], dtype: str) -> Any:
    """Samples as they were stored, through the arithmetic steps of the recipe's `input` block, in the model's type. The
    steps work on the last axis; a picture [.., height, width, channels] is turned to [.., channels, height, width]
    after them unless its layout is nhwc."""
    import numpy as np

    values, layout = stored, None
    for step in steps:
        if step["step"] == "layout":
            layout = step["values"][0]
            continue
        numbers = np.asarray(step["values"], np.float32)
        values = values.astype(np.float32, copy=False)
        if step["step"] == "rescale":
            values = values * numbers
        else:
            values = values - numbers if step["step"] == "mean" else values / numbers
    if layout == "nchw":
        values = np.moveaxis(values, -1, -3)
    return np.ascontiguousarray(values.astype(dtype, copy=False))


class Bundle:
    """The folder of this file: bundle.json, samples, goldens, and the models."""

    def __init__(self, folder: Path) -> None:
        """Raises RefusedError for files that are missing or are not those that were written."""
        self.folder = folder
        try:
            self.said = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
            if self.said["format"] != FORMAT:
                raise RefusedError(f"bundle.json has format {self.said['format']}, this script reads {FORMAT}")
            for name, sha256 in self.said["files"].items():
                found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
                if found != sha256:
                    raise RefusedError(f"{name} is not the file that this bundle was made with")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RefusedError(f"this folder is no whole bundle: {error}") from None

    def inputs(self) -> dict[str, Any]:
        """For every input of the model an array [samples, ..]: what stands at one index is fed as it is."""
        import numpy as np

        with np.load(self.folder / "samples.npz", allow_pickle=False) as stored:
            return {
                each["name"]: prepared(stored[each["name"]], each["steps"], each["dtype"])
                for each in self.said["inputs"]
            }

    def goldens(self, build: str) -> dict[str, Any]:
        """What the machine that compiled found: for each output whose shape is always the same an array [samples, ..],
        of the first samples at least."""
        import numpy as np

        with np.load(self.folder / f"golden_{build}.npz", allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def run_all(
    bundle: Bundle, build: str, inputs: dict[str, Any], threads: int
) -> tuple[dict[str, list[Any]], Counter[str]]:
    """Every output of a build for every sample, and the operators of the graph that really ran."""
    said = bundle.said["builds"][build]
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        try:
            session = session_of(str(bundle.folder / said["file"]), threads, said["options"], str(optimized))
            names = [info.name for info in session.get_outputs()]
            count = min((len(array) for array in inputs.values()), default=1)
            rows = [session.run(names, {name: array[at, ...] for name, array in inputs.items()}) for at in range(count)]
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise RefusedError(
                f"ONNX Runtime does not run {said['file']}: {' '.join(str(error).split())[:300]}"
            ) from None
        ran = operators(optimized.read_bytes()) if optimized.is_file() else Counter[str]()
    return {name: [row[at] for row in rows] for at, name in enumerate(names)}, ran


def held_against(found: dict[str, list[Any]], golden: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """By output: signal-to-noise ratio in dB against the golden one (None: equal), and the largest difference."""
    import numpy as np

    told: dict[str, dict[str, float | None]] = {}
    for name, stored in golden.items():
        x = stored.astype(np.float64)
        rows = [np.asarray(row, np.float64) for row in found[name][: len(x)]]
        if any(row.shape != x.shape[1:] for row in rows):
            raise RefusedError(f"output {name} has another shape than on the machine that compiled")
        y = np.stack(rows)
        noise, signal = float(np.square(x - y).sum()), float(np.square(x).sum())
        told[name] = {"sqnr_db": decibels(signal, noise), "max_error": float(np.abs(x - y).max(initial=0.0))}
    return told


def decibels(signal: float, noise: float) -> float | None:
    """The ratio of two sums of squares: None without any noise, minus infinity where nothing of the signal is left."""
    if noise == 0:
        return None
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else (-math.inf if ratio == 0 else math.nan)


def bench(bundle: Bundle, args: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured here, as data."""
    said, inputs = bundle.said, bundle.inputs()
    wish = dict(said["profile"])
    for name in ("runs", "warmup", "threads"):
        wish[name] = getattr(args, name) if getattr(args, name) is not None else wish[name]
    outputs, ran = {}, {}
    for build in said["builds"]:
        print(f"running {build}", file=sys.stderr)
        outputs[build], ran[build] = run_all(bundle, build, inputs, wish["threads"])
    agreement = {build: held_against(outputs[build], bundle.goldens(build)) for build in said["builds"]}
    return {
        "format": FORMAT,
        "kind": "device",
        "recipe": said["recipe"],
        "target": said["target"],
        "files": said["files"],
        "environment": environment(),
        "samples": min((len(array) for array in inputs.values()), default=1),
        "goldens": agreement,
        "operators": {build: dict(sorted(found.items())) for build, found in ran.items()},
        "kernels": {name: [count, ran[said["target"]][name]] for name, count in said["predicted"].items()},
        "scores": scored(bundle, outputs),
        "profile": profiled(bundle, inputs, wish),
    }


def scored(bundle: Bundle, outputs: dict[str, dict[str, list[Any]]]) -> dict[str, Any] | None:
    """The figures of the labelled samples, by build; None where the recipe evaluates none."""
    task = bundle.said.get("task")
    if task is None:
        return None
    sys.path.insert(0, str(bundle.folder))
    scoring = import_module("scoring")
    return {build: scoring.scores(task, found) for build, found in outputs.items()}


def profiled(bundle: Bundle, inputs: dict[str, Any], wish: dict[str, int]) -> dict[str, Any]:
    """Both models in turns, each in a process of its own."""

    def heard(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\rprofile: {done} of {total} runs", end="\n" if done == total else "", file=sys.stderr)

    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "inputs.npz"
        count = min((len(array) for array in inputs.values()), default=1)
        samples = [
            {name: array[at, ...] for name, array in inputs.items()}
            for at in range(min(count, max(SAMPLES, wish["batch"])))
        ]
        store_feeds(stored, samples, wish["batch"])
        workers: list[Worker] = []
        try:
            for build, said in bundle.said["builds"].items():
                workers.append(Worker(build, bundle.folder / said["file"], stored, said["options"], wish))
            take_turns(workers, wish["runs"], heard)
            builds = {worker.build: worker.found() for worker in workers}
        finally:
            for worker in workers:
                worker.__exit__()
    return {**wish, "builds": builds}


def json_ready(value: Any) -> Any:
    """The same with what is infinite or not a number as a text: JSON has no word for it."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def tell(found: dict[str, Any], target: str) -> None:
    """The figures in a few lines."""
    for name, (predicted, real) in found["kernels"].items():
        mark = " " if predicted == real else "!"
        print(f"{mark} {name}: {predicted} predicted, {real} here")
    for build, outputs in found["goldens"].items():
        for name, each in outputs.items():
            ratio = "equal" if each["sqnr_db"] is None else f"{each['sqnr_db']:.1f} dB"
            print(f"  {build} {name}: {ratio} to the machine that compiled it")
    for build, figures in (found["scores"] or {}).items():
        print(f"  {build}: " + "  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    for build, each in found["profile"]["builds"].items():
        rising = sorted(each["seconds"])
        print(f"  {build}: p50 {1e3 * rising[max(0, math.ceil(0.5 * len(rising)) - 1)]:.2f} ms, {len(rising)} runs")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the models of this bundle on this machine.")
    parser.add_argument("--runs", type=int, help="measured runs of each model")
    parser.add_argument("--warmup", type=int, help="runs before")
    parser.add_argument("--threads", type=int, help="0: as many as ONNX Runtime takes by itself")
    parser.add_argument("--out", type=Path, default=Path("measurements.json"))
    worker = parser.add_argument_group("as a worker")
    worker.add_argument("--model", help="time this model, asked line by line")
    worker.add_argument("--inputs", help="an npz: per input of the model one array [feeds, ..]")
    worker.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a session option")
    args = parser.parse_args()
    if args.model is not None:
        args.threads, args.warmup = args.threads or 0, 20 if args.warmup is None else args.warmup
        return serve(args)
    try:
        bundle = Bundle(Path(__file__).resolve().parent)
        found = bench(bundle, args)
    except RefusedError as reason:
        print(f"bench.py: {reason}", file=sys.stderr)
        return 1
    aside = args.out.with_name(f".{args.out.name}.tmp")
    aside.write_text(json.dumps(json_ready(found), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    aside.replace(args.out)
    tell(found, bundle.said["target"])
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
