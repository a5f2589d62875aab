"""How many scales that are made too narrow or too wide the audit tells, of healthy quantized files: at twelve places of
each, chosen at random, so many times.

    python tests/benchmarks/planted_ranges.py FILE.onnx ..
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from audit_tools import audited, named
from mutant_graph import Graph

from qdsl.auditing.index import rule_named

PLACES = 12
TIMES = (8, 16, 32, 100)
RULES = {"narrow": "output_clipped", "wide": "unused_range"}


def planted(model: ModelProto, times: float) -> Iterator[tuple[str, ModelProto]]:
    """Copies in which one scale is so many times as wide, and the tensor that it is for."""
    places = len(Graph(model).pairs())
    for at in np.random.default_rng(0).permutation(places)[:PLACES]:
        graph = Graph(model)
        pair = graph.pairs()[at]
        if graph.through(pair):
            scale = np.asarray(graph.value(pair.q.input[1]) * np.float32(times), np.float32)
            graph.parameters(pair, scale, graph.value(pair.q.input[2]))
            yield pair.tensor, graph.done()


def is_told(tensor: str, model: ModelProto, rule: str) -> bool:
    return any(tensor in named(each) for each in rule_named(rule).check(audited(model)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    total = dict.fromkeys(((kind, times) for kind in RULES for times in TIMES), (0, 0))
    for path in parser.parse_args().files:
        model = onnx.load(path)
        for kind, times in total:
            made = planted(model, times if kind == "wide" else 1 / times)
            told = [is_told(tensor, mutant, RULES[kind]) for tensor, mutant in made]
            print(f"{path.name}  {kind} {times} times: {sum(told)} of {len(told)} told", flush=True)
            total[kind, times] = (total[kind, times][0] + sum(told), total[kind, times][1] + len(told))
    for (kind, times), (told_of, count) in total.items():
        print(f"all  {kind} {times} times: {told_of} of {count} told")


if __name__ == "__main__":
    main()
