"""Build a TensorRT engine of an ONNX file, on the machine that is to run it.

    python3 build_engine.py
    python3 build_engine.py --min x=1x3x224x224 --opt x=8x3x224x224 --max x=16x3x224x224

It writes `engine.plan`, `layers.json` (what each layer of the engine computes in: what verify_engine.py reads) and
`build.json` (with what it was built). It needs Python 3.10 and TensorRT's Python module, 8.6, 10.x or 11.x: what a
version lacks is asked of it by name, never taken from its number.

Exit code 0: the engine is there; 1: it cannot be built, and the reason stands on stderr.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

try:
    import tensorrt as trt
except ImportError as missing:
    sys.exit(
        f"error: TensorRT's Python module cannot be loaded ({missing}); on a Jetson it comes with JetPack "
        "(apt install python3-libnvinfer), elsewhere with `pip install tensorrt`"
    )

MOST_TRIES = 20  # builds of one engine, each without the layers that the one before could not force
TOLD = ("INTERNAL_ERROR", "ERROR", "WARNING")
FLOATS = ("FLOAT", "HALF")
NOT_FORCED = ("QUANTIZE", "DEQUANTIZE", "CONSTANT", "SHAPE")
PRECISIONS = {"int8": "INT8", "fp8": "FP8", "float16": "HALF", "float32": "FLOAT"}
NARROW = {"int8": "int8", "int4": "int4", "float8e4m3fn": "fp8", "float4e2m1": "fp4"}


class Log(trt.ILogger):  # type: ignore[misc]
    """Tells warnings and errors, and keeps the errors."""

    def __init__(self, verbose: bool) -> None:
        trt.ILogger.__init__(self)
        self.verbose = verbose
        self.errors: list[str] = []

    def log(self, severity: Any, msg: str) -> None:
        if severity.name in TOLD[:2]:
            self.errors.append(msg)
        if self.verbose or severity.name in TOLD:
            print(f"[{severity.name.lower()}] {msg}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    manifest = read_manifest(options.manifest)
    gpu = {} if options.serialize_only else gpu_here()
    strong = strongly_typed(options.typing or manifest.get("typing") or "weak")
    log = Log(options.verbose)
    trt.init_libnvinfer_plugins(log, "")  # the parser makes some operators of plugins that TensorRT brings
    builder = trt.Builder(log)
    network = builder.create_network(creation_flags(strong))
    onnx_parser = trt.OnnxParser(network, log)
    parse(onnx_parser, options.onnx)
    config = builder.create_builder_config()
    flags = configure(config, options, [] if strong else weak_flags(options, manifest))
    shapes = add_profile(builder, network, config, options)
    forced = force(network, config, manifest, strong) if options.force_precision else {}
    began = time.monotonic()
    blob, given_up = build(builder, network, config, log, forced)
    seconds = time.monotonic() - began
    replace(options.engine, bytes(blob))
    keep_timing_cache(config, options.timing_cache)
    facts = {
        "tensorrt": trt.__version__,
        **gpu,
        "typing": "strong" if strong else "weak",
        "flags": flags,
        "workspace_mib": options.workspace,
        "shapes": shapes,
        "forced": sorted(forced.keys() - set(given_up)),
        "given_up": given_up,
        "onnx": options.onnx.name,
        "onnx_sha256": sha256(options.onnx.read_bytes()),
        "engine": options.engine.name,
        "engine_sha256": sha256(options.engine.read_bytes()),
        "engine_bytes": options.engine.stat().st_size,
        "seconds": round(seconds, 1),
    }
    replace(options.facts, (json.dumps(facts, indent=1) + "\n").encode())
    told = [str(options.engine), str(options.facts)]
    if not options.serialize_only:
        replace(options.layers, inspect(log, options.engine, shapes).encode())
        told.append(str(options.layers))
    print(f"built in {seconds:.1f} s with TensorRT {trt.__version__}: {', '.join(told)}")
    return 0


def parser() -> argparse.ArgumentParser:
    beside = Path(__file__).resolve().parent
    found = argparse.ArgumentParser(description="Build a TensorRT engine of an ONNX file.")
    add = found.add_argument
    add("--onnx", type=Path, default=beside / "model.onnx", help="the model (default: model.onnx beside this script)")
    add("--manifest", type=Path, default=beside / "quant_manifest.json", help="what each node has to compute in")
    add("--engine", type=Path, default=Path("engine.plan"), help="where to write the engine")
    add("--layers", type=Path, default=Path("layers.json"), help="where to write what its layers compute in")
    add("--facts", type=Path, default=Path("build.json"), help="where to write with what it was built")
    add(
        "--typing",
        choices=("weak", "strong"),
        help="whether TensorRT may choose types itself (default: the manifest's)",
    )
    add(
        "--precisions",
        metavar="TYPES",
        help="of a weakly typed build, such as int8,fp16 (default: the manifest's, fp16)",
    )
    add("--force-precision", action="store_true", help="hold each layer to the manifest's type (weakly typed builds)")
    add(
        "--workspace", type=int, default=4096, metavar="MIB", help="most memory that one layer may take (default: 4096)"
    )
    add("--timing-cache", type=Path, metavar="FILE", help="measurements of an earlier build, read and written")
    add("--optimization-level", type=int, choices=range(6), help="how long to look for kernels (default: TensorRT's 3)")
    for name, help in (("min", "smallest"), ("opt", "usual"), ("max", "largest")):
        add(f"--{name}", action="append", default=[], metavar="INPUT=1x3x8x8", help=f"the {help} shape of an input")
    add("--shapes", action="append", default=[], metavar="INPUT=1x3x8x8", help="its only shape")
    add(
        "--serialize-only",
        action="store_true",
        help="write the engine and load nothing: needs no GPU where TensorRT does not",
    )
    add("--compute-capability", metavar="SM86", help="a GPU that is not here, where TensorRT builds for one")
    add("--verbose", action="store_true", help="tell all that TensorRT tells")
    return found


def fail(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(1)


# --- what is built ----------------------------------------------------------------------------------------------------


def strongly_typed(typing: str) -> bool:
    """Whether the build is strongly typed: what is asked for, as far as this version has it."""
    if not hasattr(trt.BuilderFlag, "INT8"):
        if typing == "weak":
            print(f"TensorRT {trt.__version__} builds in the types of the graph only: strongly typed", file=sys.stderr)
        return True
    if typing == "strong" and not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        fail(f"TensorRT {trt.__version__} has no strongly typed networks: give --typing weak, and look at layers.json")
    return typing == "strong"


def creation_flags(strong: bool) -> int:
    """As bits: which bit a flag is differs between versions."""
    names = ("EXPLICIT_BATCH", "STRONGLY_TYPED") if strong else ("EXPLICIT_BATCH",)
    kinds = trt.NetworkDefinitionCreationFlag
    return sum(1 << int(getattr(kinds, name)) for name in names if hasattr(kinds, name))


def parse(onnx_parser: Any, path: Path) -> None:
    """Read the model, with its data beside it. All that the parser says ends the program, node by node."""
    if not path.is_file():
        fail(f"{path} is not there")
    if onnx_parser.parse_from_file(str(path)):
        return
    for number in range(onnx_parser.num_errors):
        error = onnx_parser.get_error(number)
        node = f"node {error.node()}"
        if hasattr(error, "node_name"):
            node = f"{error.node_operator()} `{error.node_name()}`, {node}"
        print(f"error: {node}: {error.desc()} ({error.code()}, {error.func()})", file=sys.stderr)
    fail(f"TensorRT {trt.__version__} cannot read {path}")


def weak_flags(options: argparse.Namespace, manifest: Mapping[str, Any]) -> list[str]:
    """Which types the builder may choose: those that are asked for, else those of the manifest and float16."""
    if options.precisions is not None:
        return [word.strip().lower() for word in options.precisions.split(",") if word.strip()]
    pairs = [pair for node in manifest.get("nodes", []) for pair in node.get("pairs", [])]
    stored = {NARROW[pair["type"]] for pair in pairs if pair.get("type") in NARROW}
    return [*sorted(stored or {"int8"}), "fp16"]


def configure(config: Any, options: argparse.Namespace, precisions: Sequence[str]) -> list[str]:
    """Set what does not depend on the network; returns the names of the flags."""
    for word in precisions:
        if not hasattr(trt.BuilderFlag, word.upper()):
            fail(f"TensorRT {trt.__version__} has no flag for {word}")
        config.set_flag(getattr(trt.BuilderFlag, word.upper()))
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.compute_capability:
        build_for(config, options.compute_capability)
    if options.timing_cache is not None:
        use_timing_cache(config, options.timing_cache)
    return list(precisions)


def build_for(config: Any, capability: str) -> None:
    if not hasattr(config, "set_compute_capability"):
        fail(f"TensorRT {trt.__version__} builds for the GPU that is here: leave --compute-capability out")
    kinds = trt.ComputeCapability if hasattr(trt, "ComputeCapability") else None
    if not hasattr(kinds, capability.upper()):
        fail(f"this TensorRT does not build for {capability}")
    if hasattr(config, "num_compute_capabilities"):
        config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(kinds, capability.upper()), 0)


def use_timing_cache(config: Any, path: Path) -> None:
    stored = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(stored), False):
        print(f"{path} is of another GPU or TensorRT: it is left aside and written anew", file=sys.stderr)
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep_timing_cache(config: Any, path: Path | None) -> None:
    cache = config.get_timing_cache() if path is not None else None
    if path is not None and cache is not None:
        replace(path, bytes(cache.serialize()))


def build(builder: Any, network: Any, config: Any, log: Log, forced: dict[str, Any]) -> tuple[Any, list[str]]:
    """The serialized engine, and the forced layers that were given up for it: those that TensorRT's errors name, or all
    where they name none."""
    given_up: list[str] = []
    for _ in range(MOST_TRIES):
        log.errors.clear()
        blob = builder.build_serialized_network(network, config)
        if blob is not None:
            return blob, given_up
        held = forced.keys() - set(given_up)
        if not held:
            break
        failed = sorted(name for name in held if named(name, log.errors)) or sorted(held)
        for name in failed:
            release(forced[name])
        print(f"built again without forcing {', '.join(failed)}: no kernel in that type", file=sys.stderr)
        given_up += failed
    fail(f"TensorRT {trt.__version__} built no engine{': ' + log.errors[0] if log.errors else ''}")


def named(name: str, errors: Sequence[str]) -> bool:
    """Whether an error speaks of the layer: its whole name, so that `conv1` is not found in `conv12`."""
    whole = re.compile(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])")
    return any(whole.search(text) for text in errors)


def inspect(log: Log, path: Path, shapes: Mapping[str, Sequence[Sequence[int]]]) -> str:
    """What the engine's layers compute in, as JSON. With free dimensions that is known of an execution alone."""
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        fail(f"{path} was built and cannot be loaded here{': ' + log.errors[-1] if log.errors else ''}")
    inspector = engine.create_engine_inspector()
    context = None
    if shapes:
        context = engine.create_execution_context()
        for name, (_, usual, _) in shapes.items():
            context.set_input_shape(name, tuple(usual))
        inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


# --- shapes -----------------------------------------------------------------------------------------------------------


def add_profile(builder: Any, network: Any, config: Any, options: argparse.Namespace) -> dict[str, list[list[int]]]:
    """A range of shapes for each input that leaves some open: smallest, usual, largest. Returns them by name."""
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    open_ones = {each.name: tuple(each.shape) for each in inputs if -1 in tuple(each.shape)}
    asked = [shapes_of(options.shapes + more) for more in (options.min, options.opt, options.max)]
    unknown = {name for shapes in asked for name in shapes} - {each.name for each in inputs}
    if unknown:
        fail(f"the model has no input {sorted(unknown)}: its inputs are {[each.name for each in inputs]}")
    if not open_ones:
        return {}
    lacking = [f"{name} is {shape}" for name, shape in open_ones.items() if any(name not in each for each in asked)]
    if lacking:
        fail(f"dimensions are open ({'; '.join(lacking)}): give --min, --opt and --max, or --shapes, for each")
    profile = builder.create_optimization_profile()
    for name in open_ones:
        profile.set_shape(name, *(tuple(each[name]) for each in asked))
    config.add_optimization_profile(profile)
    return {name: [each[name] for each in asked] for name in open_ones}


def shapes_of(words: Sequence[str]) -> dict[str, list[int]]:
    """`x=1x3x8x8` as the name and the shape; a name may hold `=`, its last one counts."""
    found = {}
    for word in words:
        name, sign, shape = word.rpartition("=")
        if not sign or not re.fullmatch(r"\d+(x\d+)*", shape, re.ASCII):
            fail(f"`{word}` is no shape: write INPUT=1x3x224x224")
        found[name] = [int(size) for size in shape.split("x")]
    return found


# --- forced precisions ------------------------------------------------------------------------------------------------


def force(network: Any, config: Any, manifest: Mapping[str, Any], strong: bool) -> dict[str, Any]:
    """Hold each layer of a node of the manifest to its type, as far as this version can; returns them by name.

    A layer between Q/DQ nodes multiplies integers and writes floats, so only float layers have their outputs set."""
    if strong or not hasattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS"):
        fail("a strongly typed network has the types of its graph: there is nothing to force, leave it out")
    wanted = {
        node["node"]: PRECISIONS[node["expect"]] for node in manifest.get("nodes", []) if node["expect"] in PRECISIONS
    }
    if not wanted:
        fail("no manifest says what to force: give --manifest quant_manifest.json")
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    forced = {}
    for number in range(network.num_layers):
        layer = network.get_layer(number)
        kind = next((wanted[name] for name in nodes_of(layer) if name in wanted), None)
        if kind is None or layer.type.name in NOT_FORCED or not hasattr(layer, "set_output_type"):
            continue
        if layer.num_outputs and layer.get_output(0).dtype.name in FLOATS:
            layer.precision = getattr(trt.DataType, kind)
            if kind in FLOATS:
                layer.set_output_type(0, getattr(trt.DataType, kind))
            forced[layer.name] = layer
    return forced


def nodes_of(layer: Any) -> list[str]:
    """The ONNX nodes of a layer: from what it says of them, else its name."""
    told = layer.metadata if hasattr(layer, "metadata") else ""
    return [layer.name, *re.findall(r"\[ONNX Layer: ([^\]]+)\]", told or "")]


def release(layer: Any) -> None:
    if hasattr(layer, "reset_precision"):
        layer.reset_precision()
    if hasattr(layer, "reset_output_type"):
        layer.reset_output_type(0)


# --- files, and the machine -------------------------------------------------------------------------------------------


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest beside the model; nothing where there is none."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        fail(f"{path} is not JSON: {error}")
    if not isinstance(found, dict) or found.get("format") != 1 or not isinstance(found.get("nodes"), list):
        fail(f"{path} is no quant_manifest.json of format 1")
    return found


def replace(path: Path, content: bytes) -> None:
    """Write aside, then rename: whoever reads finds the old file or the new one."""
    aside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def gpu_here() -> dict[str, str]:
    """The GPU that the engine is built for, as the driver names it."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        fail("there is no NVIDIA driver here: build on the machine that is to run the engine")
    number, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    code = cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(number))
    if code or not number.value or cuda.cuDeviceGet(ctypes.byref(device), 0):
        fail(f"the driver finds no GPU (CUDA error {code}): build on the machine that is to run the engine")
    cuda.cuDeviceGetName(name, len(name), device)
    major, minor, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # .._MINOR
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return {
        "gpu": name.value.decode(errors="replace"),
        "compute_capability": f"{major.value}.{minor.value}",
        "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "driver": driver_version(),
    }


def driver_version() -> str:
    """The version of the driver, "" where it does not tell (Jetsons have none of their own)."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    text = ctypes.create_string_buffer(96)
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, len(text)):
        return ""
    return text.value.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
