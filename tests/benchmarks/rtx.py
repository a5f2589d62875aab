"""What TensorRT-RTX makes of files, held against what is said of them, and what asking it costs.

    python tests/benchmarks/rtx.py FILE..           quantized files: what disagrees, and seconds beside a build alone
    python tests/benchmarks/rtx.py --flip FILE..    each layer of the files loses the pair before it, one at a time
    python tests/benchmarks/rtx.py --random 100     random nets, compiled for TensorRT

Its parser refuses the nodes that the audit's rules about TensorRT name, and no others, and layers compute in int8 where
nothing is said to the contrary; `peers/run.py --out FOLDER` makes files of other quantizers. `python -m
qdsl.engines.rtx.get` makes its environment, under NVIDIA's licence.

Bounds: nothing disagrees; a check takes less than 3 times as long as a process that parses and builds alone; a layer
without its pair is dropped, and no other; random nets compute as planned, node for node.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import median

import onnx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]
import rtx_engine  # noqa: E402
from audit_tools import audited, found  # noqa: E402
from common import machine  # noqa: E402
from rtx_held import held  # noqa: E402
from rtx_reality import flips, otherwise, random_check  # noqa: E402

TURNS = 3
MOST = 3.0
# Parses and builds, and tells nothing of it.
ALONE = """
import os, sys
import tensorrt_rtx_bindings as trt
log = trt.Logger(trt.Logger.INTERNAL_ERROR)
builder = trt.Builder(log)
network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
parser = trt.OnnxParser(network, log)
if parser.parse_from_file(sys.argv[1]):
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    builder.build_serialized_network(network, config)
os._exit(0)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*", help="quantized models (.onnx)")
    parser.add_argument("--flip", action="store_true", help="take the pair before each layer away")
    parser.add_argument("--random", type=int, default=0, help="compile so many random nets")
    args = parser.parse_args()
    if rtx_engine.python() is None:
        print("TensorRT-RTX is not here: python -m qdsl.engines.rtx.get")
        return 1
    print(f"{machine()}; TensorRT-RTX {rtx_engine.VERSION}, {rtx_engine.CAPABILITY}, without a GPU")
    told = [_flipped(path) if args.flip else _file(path) for path in args.files]
    told += [_random(args.random)] if args.random else []
    return int(not all(told))


def _file(path: Path) -> bool:
    model = onnx.load(path)
    start = time.perf_counter()
    rules = Counter(f"{each.severity.value} {each.rule}" for each in found(audited(model, "tensorrt")))
    seconds = time.perf_counter() - start
    engine, checks, builds = rtx_engine.examine(model), [], []
    for _ in range(TURNS):
        checks.append(_seconds(lambda: rtx_engine.examine(model)))
        builds.append(_seconds(lambda: subprocess.run([str(rtx_engine.python()), "-c", ALONE, str(path)], check=True)))
    ratio = median(checks) / median(builds)
    result = held(model)
    wrong = {
        "refused, and not told": result.refused_unsaid,
        "told to be refused, and taken": result.said_not_refused,
        "in floats, and not told": result.dropped_unsaid,
        "told to be in floats, and in int8": result.said_not_dropped,
    }
    verdicts = ", ".join(f"{count} {name}" for name, count in sorted(Counter(engine.verdicts.values()).items()))
    print(f"{path.name}: {engine.stage} {engine.reason}{verdicts or f'{len(engine.refused)} nodes refused'}")
    # A refused file is parsed alone by the one, and node by node by the other.
    bound = f"{ratio:.2f} times, bound {MOST:g}" if engine.stage == "built" else "no build"
    print(f"  {median(checks):.2f} s the check, {median(builds):.2f} s a build alone ({bound})")
    print(f"  {seconds:.2f} s the rules")
    print(f"  {', '.join(f'{rule} {count}' for rule, count in sorted(rules.items()))}")
    for what, names in wrong.items():
        print("".join(f"  {what}: {name}\n" for name in sorted(names)[:10]), end="")
    return not any(wrong.values()) and (engine.stage != "built" or ratio < MOST)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _flipped(path: Path) -> bool:
    """Whether each layer that loses its pair is dropped, and no other."""
    right, others = 0, []
    for name, lost, ended in flips(onnx.load(path)):
        right += (lost, ended) == ({name}, "")
        others += [f"{name}: {ended or sorted(lost)}"] if (lost, ended) != ({name}, "") else []
    print(f"{path.name}: {right} of {right + len(others)} layers are dropped alone without their pair")
    print("".join(f"  {each}\n" for each in others), end="")
    return not others


def _random(count: int) -> bool:
    verdicts: Counter[str] = Counter()
    others = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(count):
            check = random_check(seed, Path(folder, str(seed)))
            verdicts.update(f"{each.op} planned {each.expect} {each.verdict}" for each in check.nodes)
            others += [f"seed {seed}: {each}" for each in otherwise(check)]
    print(f"{count} random nets: {len(others)} nodes otherwise than planned")
    print("".join(f"  {number} {what}\n" for what, number in sorted(verdicts.items())), end="")
    print("".join(f"  {each}\n" for each in others), end="")
    return not others


if __name__ == "__main__":
    sys.exit(main())
