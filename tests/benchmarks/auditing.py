"""`qdsl audit` of large quantized files, whole processes: time, and peak memory against loading the same file.

Bounds, for a file of 20,000 nodes with its Q and DQ: under 10 s of one processor, which on a quiet machine is the time
it takes, and under 2 times the memory of loading it (`qdsl.graph.load` in a process of its own, interpreter and
libraries included on both sides). A file of 20,000 operators, which has three times as many nodes, has to take no more
than 1.5 times the processor time per node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import onnx
from common import ROOT, Row, arguments, finish, machine, median
from scale import chain

from qdsl.calibrate import Ranges
from qdsl.diag import Diagnostics
from qdsl.graph import to_proto
from qdsl.targets.ort.emit import quantize
from qdsl.work.deciding import decide_all
from qdsl.work.prepared import prepare, read

RECIPE = """recipe scale
model onnx "graph.onnx"
data calib from npz "calib.npz"
quantize static { calibrate minmax on calib }
target ort
"""
LOAD = "import sys; from qdsl.graph import load; load(sys.argv[1])"


class Taken(NamedTuple):
    """What a process took: wall and processor seconds, and its peak memory in bytes."""

    seconds: float
    cpu: float
    memory: float


def taken(*words: str) -> Taken:
    """Run a whole process; its exit code may be 1, for findings."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        child = subprocess.Popen([sys.executable, *words], stdout=nowhere, cwd=ROOT)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 1):
        raise SystemExit(f"`{' '.join(words)[:80]}` failed")
    return Taken(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024.0)


def quantized(folder: Path, operators: int) -> tuple[Path, int]:
    """A QDQ file of about so many operators, and how many nodes it has."""
    onnx.save(chain(operators), str(folder / "graph.onnx"))
    (folder / "scale.q").write_text(RECIPE, encoding="utf-8")
    prepared = prepare(read(folder / "scale.q", {}))
    (decided,) = decide_all(prepared, None, Diagnostics())
    names = sorted(tensor.tensor for tensor in decided.plan.tensors)
    ranges = Ranges(dict.fromkeys(names, -1.0), dict.fromkeys(names, 1.0), 1, 1)
    made, _ = quantize(prepared.model, decided.plan, ranges)
    proto = to_proto(made)
    onnx.save(proto, str(folder / "quantized.onnx"))
    return folder / "quantized.onnx", len(proto.graph.node)


def main() -> int:
    args = arguments(__doc__ or "", runs=3)
    print(f"{machine()}; median of {args.runs} runs in turns")
    rows, cpu = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for operators in (6_600, 20_000):
            folder = Path(temporary) / str(operators)
            folder.mkdir()
            file, nodes = quantized(folder, operators)
            audit = ("-m", "qdsl", "audit", str(file), "--json")
            runs = [(taken("-c", LOAD, str(file)), taken(*audit)) for _ in range(args.runs)]
            print(f"  {operators:,} operators, {nodes:,} nodes, {file.stat().st_size / 2**20:.1f} MiB")
            for name, each in zip(("load", "audit"), zip(*runs, strict=True), strict=True):
                seconds, used, memory = (median(list(values)) for values in zip(*each, strict=True))
                print(f"    {name:<6} {seconds:6.2f} s   {used:6.2f} s of a processor   {memory / 2**20:.0f} MiB")
            cpu.append(median([audited.cpu for _, audited in runs]) / nodes)
            memory = median([audited.memory / loaded.memory for loaded, audited in runs])
            if operators < 20_000:
                used = median([audited.cpu for _, audited in runs])
                rows.append(Row(f"audit, {nodes:,} nodes, processor time", used, "s", 10.0))
            rows.append(Row(f"peak memory, audit / load, {nodes:,} nodes", memory, "x", 2.0))
    rows.append(Row("processor time per node, 60,000 / 20,000 nodes", cpu[1] / cpu[0], "x", 1.5))
    return finish(rows, args.check)


if __name__ == "__main__":
    sys.exit(main())
