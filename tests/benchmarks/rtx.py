"""Files that other quantizers made, held against TensorRT-RTX: whether its parser refuses the nodes that the audit's
rules about TensorRT name, and no others, and whether layers compute in int8 where nothing is said to the contrary.
`peers/run.py --out FOLDER` makes the files, `tests/rtx_engine.py install` the environment, under NVIDIA's licence.

Bound: nothing disagrees. Seconds are of the parser and the builder, and of the audit beside them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

import onnx

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE)]
import rtx_engine  # noqa: E402
from audit_tools import audited, found  # noqa: E402
from common import machine  # noqa: E402
from rtx_held import held  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="quantized models (.onnx)")
    args = parser.parse_args()
    if rtx_engine.python() is None:
        print("TensorRT-RTX is not here: python tests/rtx_engine.py install")
        return 1
    print(f"{machine()}; TensorRT-RTX {rtx_engine.VERSION}, {rtx_engine.CAPABILITY}, without a GPU")
    apart = False
    for path in args.files:
        model = onnx.load(path)
        start = time.perf_counter()
        engine = rtx_engine.examine(model)
        middle = time.perf_counter()
        rules = Counter(f"{each.severity.value} {each.rule}" for each in found(audited(model, "tensorrt")))
        seconds = middle - start, time.perf_counter() - middle
        result = held(model)
        wrong = {
            "refused, and not told": result.refused_unsaid,
            "told to be refused, and taken": result.said_not_refused,
            "in floats, and not told": result.dropped_unsaid,
            "told to be in floats, and in int8": result.said_not_dropped,
        }
        apart = apart or any(wrong.values())
        refused = rtx_engine.refused_nodes(model) if engine.stage == "parse" else {}
        verdicts = ", ".join(f"{count} {name}" for name, count in sorted(Counter(engine.verdicts.values()).items()))
        print(f"{path.name}: {engine.stage} {engine.reason}{verdicts or f'{len(refused)} nodes refused'}")
        print(f"  {seconds[0]:.1f} s beside {seconds[1]:.1f} s of the audit")
        print(f"  {', '.join(f'{rule} {count}' for rule, count in sorted(rules.items()))}")
        for what, names in wrong.items():
            print("".join(f"  {what}: {name}\n" for name in sorted(names)[:10]), end="")
    return int(apart)


if __name__ == "__main__":
    sys.exit(main())
