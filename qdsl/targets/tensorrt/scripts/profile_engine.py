"""Time a TensorRT engine on the GPU that is here, kernels alone: no copies of inputs and outputs, one CUDA graph.

    python3 profile_engine.py
    python3 profile_engine.py --shapes x=8x3x224x224 --duration 30

It writes `times.json` (each run, in the form of `trtexec --exportTimes`) and `profile.json` (each layer, in that of
`--exportProfile`), which `qdsl report --add` and verify_engine.py read. It needs Python 3.10, TensorRT's Python module,
8.6, 10.x or 11.x, and CUDA's runtime library; inputs are those of inputs.json, or random.

Exit code 0: both files are there; 1: the engine cannot be run, and the reason stands on stderr.
"""

from __future__ import annotations

import argparse
import ast
import base64
import ctypes
import json
import math
import os
import random
import re
import struct
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from ctypes.util import find_library
from pathlib import Path
from typing import Any, NoReturn

try:
    import tensorrt as trt
except ImportError as missing:
    sys.exit(
        f"error: TensorRT's Python module cannot be loaded ({missing}); on a Jetson it comes with JetPack "
        "(apt install python3-libnvinfer), elsewhere with `pip install tensorrt`"
    )

BYTES = {"INT64": 8, "FLOAT": 4, "INT32": 4, "HALF": 2, "BF16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1, "FP8": 1}
TO_DEVICE = 1  # cudaMemcpyHostToDevice
SPIN = 1  # cudaDeviceScheduleSpin
RELAXED = 2  # cudaStreamCaptureModeRelaxed
PROFILED = 100  # runs of the profile; fewer than 10 say nothing of single layers


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    cuda = Cuda()
    log = trt.Logger(trt.Logger.WARNING)
    trt.init_libnvinfer_plugins(log, "")  # an engine may hold plugins that TensorRT brings
    engine = loaded(log, options.engine)
    context = engine.create_execution_context()
    if context is None:
        fail(f"no room on the GPU for {options.engine}")
    set_shapes(engine, context, options.shapes)
    place(engine, context, cuda, feed_of(options.inputs))
    stream = cuda.stream()
    launch, graph = launcher(context, cuda, stream, options.no_cuda_graph)
    times = timed(cuda, stream, launch, options)
    if not times:
        fail("no run was timed: give --iterations or a longer --duration")
    replace(options.times, json.dumps(times, indent=0) + "\n")
    replace(options.profile, json.dumps(profiled(context, cuda, stream), indent=0) + "\n")
    spent = sorted(each["computeMs"] for each in times)
    how = {True: "one CUDA graph", False: "no CUDA graph", None: "no CUDA graph: the engine cannot be captured"}[graph]
    print(
        f"{len(spent)} runs, GPU time median {quantile(spent, 0.5):.4g} ms, 99 % {quantile(spent, 0.99):.4g} ms "
        f"({how}, no copies of inputs and outputs), measured with TensorRT {trt.__version__}"
    )
    print(f"{options.times}, {options.profile}")
    return 0


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description="Time a TensorRT engine.")
    add = found.add_argument
    add("--engine", type=Path, default=Path("engine.plan"), help="the engine")
    add("--shapes", action="append", default=[], metavar="INPUT=1x3x8x8", help="of an input with open dimensions")
    add("--inputs", type=Path, default=Path(__file__).resolve().parent / "inputs.json", help="what to feed")
    add("--warmup", type=float, default=500, metavar="MS", help="not counted, in milliseconds (default: 500)")
    add("--duration", type=float, default=10, metavar="S", help="at least so long, in seconds (default: 10)")
    add("--iterations", type=int, default=100, help="at least so many runs (default: 100)")
    add("--no-cuda-graph", action="store_true", help="launch the kernels one by one")
    add("--times", type=Path, default=Path("times.json"), help="where to write the time of each run")
    add("--profile", type=Path, default=Path("profile.json"), help="where to write the time of each layer")
    return found


def fail(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(1)


# --- CUDA -------------------------------------------------------------------------------------------------------------


class Cuda:
    """What is needed of CUDA's runtime. Every call ends the program with CUDA's own words where it fails."""

    def __init__(self) -> None:
        self.library = cudart()
        self.library.cudaGetErrorString.restype = ctypes.c_char_p
        count = ctypes.c_int()
        code = self.library.cudaGetDeviceCount(ctypes.byref(count))
        if code or not count.value:
            why = self.words(code) if code else "none is found"
            fail(f"there is no GPU here ({why}): run this where the engine was built")
        self.call("cudaSetDeviceFlags", SPIN)
        self.held: list[Any] = []

    def words(self, code: int) -> str:
        text: bytes = self.library.cudaGetErrorString(code)
        return text.decode(errors="replace")

    def call(self, name: str, *arguments: Any) -> None:
        code = getattr(self.library, name)(*arguments)
        if code:
            fail(f"{name}: {self.words(code)}")

    def made(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """A handle that the call writes into its first argument."""
        found = ctypes.c_void_p()
        self.call(name, ctypes.byref(found), *arguments)
        return found

    def stream(self) -> ctypes.c_void_p:
        return self.made("cudaStreamCreate")

    def memory(self, size: int, content: bytes | None = None) -> int:
        """The address of so many bytes on the GPU, which start with `content`, or are zero."""
        found = self.made("cudaMalloc", ctypes.c_size_t(max(1, size)))
        self.call("cudaMemset", found, 0, ctypes.c_size_t(size))
        if content:
            self.call("cudaMemcpy", found, content, ctypes.c_size_t(min(size, len(content))), TO_DEVICE)
        return found.value or 0

    def wait(self, stream: ctypes.c_void_p) -> None:
        self.call("cudaStreamSynchronize", stream)

    def between(self, first: ctypes.c_void_p, last: ctypes.c_void_p) -> float:
        """Milliseconds on the GPU."""
        found = ctypes.c_float()
        self.call("cudaEventElapsedTime", ctypes.byref(found), first, last)
        return found.value


def cudart() -> Any:
    """CUDA's runtime library: that of the system, or that of pip's packages, which TensorRT's wheels bring."""
    pips = [str(found) for folder in sys.path for found in Path(folder or ".").glob("nvidia/*/lib/libcudart.so.*")]
    names = [find_library("cudart"), "libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"]
    for name in (*names, *sorted(pips, reverse=True), "/usr/local/cuda/lib64/libcudart.so"):
        try:
            if name:
                return ctypes.CDLL(name)
        except OSError:
            continue
    return fail("CUDA's runtime library (libcudart.so) is not here: this needs the machine that has the GPU")


# --- the engine -------------------------------------------------------------------------------------------------------


def loaded(log: Any, path: Path) -> Any:
    if not path.is_file():
        fail(f"{path} is not there: build it first (build_engine.py)")
    engine = trt.Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        fail(
            f"TensorRT {trt.__version__} does not load {path}: an engine runs on the version and the GPU that built it"
        )
    return engine


def names_of(engine: Any, inputs: bool) -> list[str]:
    kind = trt.TensorIOMode.INPUT if inputs else trt.TensorIOMode.OUTPUT
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    return [name for name in names if engine.get_tensor_mode(name) == kind]


def set_shapes(engine: Any, context: Any, words: Sequence[str]) -> None:
    """Fix what the engine leaves open: as asked, else the usual shape of its range."""
    asked = shapes_of(words)
    unknown = asked.keys() - set(names_of(engine, True))
    if unknown:
        fail(f"the engine has no input {sorted(unknown)}: its inputs are {names_of(engine, True)}")
    for name in names_of(engine, True):
        if engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
            fail(f"input {name} holds a shape, which this does not feed: profile with trtexec")
        shape = tuple(engine.get_tensor_shape(name))
        if -1 not in shape:
            continue
        least, usual, most = (tuple(each) for each in engine.get_tensor_profile_shape(name, 0))
        if not context.set_input_shape(name, asked.get(name, usual)):
            fail(f"input {name} takes shapes from {least} to {most}")


def shapes_of(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """`x=1x3x8x8` as the name and the shape; a name may hold `=`, its last one counts."""
    found = {}
    for word in words:
        name, sign, shape = word.rpartition("=")
        if not sign or not re.fullmatch(r"\d+(x\d+)*", shape, re.ASCII):
            fail(f"`{word}` is no shape: write INPUT=1x3x224x224")
        found[name] = tuple(int(size) for size in shape.split("x"))
    return found


def place(engine: Any, context: Any, cuda: Cuda, feed: Mapping[str, bytes]) -> None:
    """Give every input and output its memory on the GPU, inputs what they are fed."""
    for name in (*names_of(engine, True), *names_of(engine, False)):
        kind, shape = engine.get_tensor_dtype(name).name, tuple(context.get_tensor_shape(name))
        content = None
        if -1 in shape:  # how much comes out depends on the values: room for all that can
            size = int(context.get_max_output_size(name))
        else:
            size = math.prod(shape) * BYTES.get(kind, 4)
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            content = feed[name] if len(feed.get(name, b"")) == size else noise(kind, size)
        context.set_tensor_address(name, cuda.memory(size, content))


def noise(kind: str, size: int) -> bytes | None:
    """Values from 0 to 1 for a float input, zeros (None) for another: what it may hold is not known."""
    draw = random.Random(0)
    if kind == "FLOAT":
        return array("f", (draw.random() for _ in range(size // 4))).tobytes()
    if kind == "HALF":
        return b"".join(struct.pack("<e", draw.random()) for _ in range(size // 2))
    return None


def feed_of(path: Path) -> dict[str, bytes]:
    """The first sample of inputs.json as bytes by name; nothing where there is no such file."""
    if not path.is_file():
        return {}
    try:
        first = json.loads(path.read_text(encoding="utf-8"))[0]
        return {name: npy_bytes(base64.b64decode(found["array"], validate=True)) for name, found in first.items()}
    except (ValueError, LookupError, TypeError, AttributeError, SyntaxError, struct.error) as error:
        fail(f"{path} cannot be read ({type(error).__name__}: {error}): give another with --inputs")


def npy_bytes(content: bytes) -> bytes:
    """The values of an npy file of version 1, in C order."""
    if content[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError("it holds no npy array of version 1")
    (length,) = struct.unpack_from("<H", content, 8)
    header = ast.literal_eval(content[10 : 10 + length].decode("latin-1").strip())
    if header["fortran_order"]:
        raise ValueError("an array stands in Fortran order")
    return content[10 + length :]


# --- timing -----------------------------------------------------------------------------------------------------------


def launcher(context: Any, cuda: Cuda, stream: ctypes.c_void_p, plain: bool) -> tuple[Any, bool | None]:
    """What starts one run, and whether that is a CUDA graph (None: it was tried, and cannot be)."""

    def enqueue() -> None:
        if not context.execute_async_v3(stream.value):
            fail("the engine does not run: see what TensorRT says above")

    enqueue()  # what is done once only is not part of the graph
    cuda.wait(stream)
    if plain:
        return enqueue, False
    graph, runnable = ctypes.c_void_p(), ctypes.c_void_p()
    library = cuda.library
    if library.cudaStreamBeginCapture(stream, RELAXED) == 0:
        ran = context.execute_async_v3(stream.value)
        ended = library.cudaStreamEndCapture(stream, ctypes.byref(graph))
        if ran and ended == 0 and graph.value:
            flags = ctypes.c_ulonglong(0)
            if library.cudaGraphInstantiateWithFlags(ctypes.byref(runnable), graph, flags) == 0:
                return lambda: cuda.call("cudaGraphLaunch", runnable, stream), True
    library.cudaGetLastError()  # or the next call would tell of it
    return enqueue, None


def timed(cuda: Cuda, stream: ctypes.c_void_p, launch: Any, options: argparse.Namespace) -> list[dict[str, float]]:
    """One record a run, in milliseconds since warming up ended, as `trtexec --exportTimes` writes them."""
    before, after, origin = (cuda.made("cudaEventCreate") for _ in range(3))
    until = time.monotonic() + options.warmup / 1000
    while time.monotonic() < until:
        launch()
        cuda.wait(stream)
    cuda.call("cudaEventRecord", origin, stream)
    cuda.wait(stream)
    found: list[dict[str, float]] = []
    began = time.perf_counter()
    while len(found) < options.iterations or time.perf_counter() - began < options.duration:
        enqueued = time.perf_counter()
        cuda.call("cudaEventRecord", before, stream)
        launch()
        cuda.call("cudaEventRecord", after, stream)
        returned = time.perf_counter()
        cuda.wait(stream)
        start, spent = cuda.between(origin, before), cuda.between(before, after)
        found.append(record((enqueued - began) * 1000, (returned - began) * 1000, start, spent))
    return found


def record(start_enqueue: float, end_enqueue: float, start: float, spent: float) -> dict[str, float]:
    """Nothing is copied, so copies take no time: in at the start, out at the end."""
    return {
        "startEnqMs": start_enqueue,
        "endEnqMs": end_enqueue,
        "startH2dMs": start,
        "endH2dMs": start,
        "startComputeMs": start,
        "endComputeMs": start + spent,
        "startD2hMs": start + spent,
        "endD2hMs": start + spent,
        "h2dMs": 0.0,
        "computeMs": spent,
        "d2hMs": 0.0,
        "latencyMs": spent,
    }


class Layers(trt.IProfiler):  # type: ignore[misc]
    """Keeps what TensorRT reports of each layer."""

    def __init__(self) -> None:
        trt.IProfiler.__init__(self)
        self.spent: dict[str, list[float]] = {}

    def report_layer_time(self, layer_name: str, ms: float) -> None:
        self.spent.setdefault(layer_name, []).append(ms)


def profiled(context: Any, cuda: Cuda, stream: ctypes.c_void_p) -> list[dict[str, Any]]:
    """Layer by layer, in runs of their own and without a graph: a profiler slows every run down."""
    layers = Layers()
    context.profiler = layers
    for _ in range(PROFILED):
        if not context.execute_async_v3(stream.value):
            fail("the engine does not run with a profiler: see what TensorRT says above")
        cuda.wait(stream)
    total = sum(map(sum, layers.spent.values()))
    rows = [
        {
            "name": name,
            "timeMs": sum(spent),
            "averageMs": sum(spent) / PROFILED,
            "medianMs": quantile(sorted(spent), 0.5),
            "percentage": 100 * sum(spent) / total if total else 0.0,
        }
        for name, spent in layers.spent.items()
    ]
    return [{"count": PROFILED}, *rows]


def quantile(ordered: Sequence[float], part: float) -> float:
    """Of sorted values, between the two that it falls between."""
    at = part * (len(ordered) - 1)
    low = math.floor(at)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (at - low)


def replace(path: Path, text: str) -> None:
    """Write aside, then rename: whoever reads finds the old file or the new one."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")


if __name__ == "__main__":
    sys.exit(main())
