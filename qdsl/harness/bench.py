"""Times one model in ONNX Runtime, in a process of its own. Needs Python, numpy and onnxruntime, nothing of qdsl.

    python bench.py --model model.onnx --inputs inputs.npz --threads 1 --warmup 20

It loads the model, runs it `--warmup` times, writes one line of JSON about itself, and then answers each line of its
input: a number N asks for N runs, and the answer is one line with the seconds of each, the processor seconds of all,
and the memory of the process. So whoever asks can let several models take turns, each alone in its memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any


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


def load(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The session, and the inputs that it takes by name."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    options.log_severity_level = 4
    for pair in args.option:
        options.add_session_config_entry(*pair.split("=", 1))
    session = ort.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    with np.load(args.inputs, allow_pickle=False) as stored:
        arrays = {info.name: stored[info.name] for info in session.get_inputs()}
    return session, arrays


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


def main() -> int:
    parser = argparse.ArgumentParser(description="Time one model in ONNX Runtime.")
    parser.add_argument("--model", required=True)
    parser.add_argument("--inputs", required=True, help="an npz: per input of the model one array, a row per sample")
    parser.add_argument("--batch", type=int, default=1, help="rows per run")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as ONNX Runtime takes by itself")
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="a session option")
    args = parser.parse_args()
    bare = memory()[0]
    try:
        session, arrays = load(args)
        rows = min(len(array) for array in arrays.values())
        feeds = [
            {name: array[start : start + args.batch] for name, array in arrays.items()}
            for start in range(0, max(1, rows - args.batch + 1), args.batch)
        ]
        measure(session, feeds, args.warmup)
    except Exception as error:  # whoever started this wants a reason, not a traceback
        print(json.dumps({"refused": " ".join(str(error).split())[:300] or type(error).__name__}), flush=True)
        return 1
    print(json.dumps({"bare_memory": bare, "loaded_memory": memory()[0]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(measure(session, feeds, int(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
