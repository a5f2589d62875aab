"""Exact bit allocation on the weights of the examples: how long it takes, and what greedy and random choices lose
more at an equal size. The loss of a layer is the energy of its rounding relative to its weights, per output
channel."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from qdsl.graph.loading import load  # noqa: E402
from qdsl.search import LOSS, Assignment, Frontier, Option, Problem, Unit, frontier, minimum  # noqa: E402

MODELS = ("cracks/mobilenet_v1_025.onnx", "cracks/mobilenet_v2_050.onnx", "people/yolov8n.onnx")
WIDTHS = (8, 4, 2)
DRAWS = 2000
ROUNDS = 7


def rounded(weights: np.ndarray, bits: int) -> float:
    """The energy of the rounding error of [channels, rest], relative to the weights."""
    top = 2 ** (bits - 1) - 1
    scale = np.abs(weights).max(axis=1, keepdims=True) / top
    scale[scale == 0] = 1
    error = np.clip(np.round(weights / scale), -top - 1, top) * scale - weights
    return float((error**2).sum() / (weights**2).sum())


def problem_of(path: Path) -> Problem:
    """A unit per Conv, Gemm and MatMul with constant weights; costs are the bytes of the packed integers."""
    units = []
    for node in load(path).nodes():
        if node.op not in ("Conv", "Gemm", "MatMul") or not hasattr(node.inputs[1], "values"):
            continue
        weights = np.asarray(node.inputs[1].values, np.float64)
        weights = weights.reshape(weights.shape[0], -1) if node.op == "Conv" else weights.reshape(weights.shape[-1], -1)
        options = [Option(f"int{b}", rounded(weights, b), ((weights.size * b + 7) // 8,)) for b in WIDTHS]
        units.append(Unit(node.name, tuple(options)))
    return Problem(("size",), tuple(units))


def greedy(problem: Problem, bound: int, worth: Callable[[Option, Option], float]) -> Assignment:
    """From the widest: the layer for which a step down is least bad goes first, until the size holds."""
    at = dict.fromkeys((unit.name for unit in problem.units), 0)
    options = {unit.name: unit.options for unit in problem.units}
    size = sum(unit.options[0].costs[0] for unit in problem.units)
    while size > bound:
        open_ = [name for name in at if at[name] + 1 < len(options[name])]
        name = min(open_, key=lambda name: worth(options[name][at[name]], options[name][at[name] + 1]))
        size += options[name][at[name] + 1].costs[0] - options[name][at[name]].costs[0]
        at[name] += 1
    return problem.assignment({name: options[name][k].name for name, k in at.items()})


def drawn(problem: Problem, bound: int, chance: np.random.Generator) -> Assignment:
    """From the widest: layers drawn at random go a step down, until the size holds."""
    return greedy(problem, bound, lambda _high, _low: float(chance.random()))


def per_byte(high: Option, low: Option) -> float:
    """What a step loses per byte that it saves."""
    return (low.loss - high.loss) / max(1, high.costs[0] - low.costs[0])


def main() -> None:
    """Print a table."""
    print(
        "| network | layers | points | frontier | size | greedy per byte | greedy per step | random, best and median |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in MODELS:
        problem = problem_of(ROOT / "examples" / name)
        times = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = frontier(problem, "size")
            times.append(time.perf_counter() - began)
        assert isinstance(found, Frontier)
        whole = int(found.costs[-1])
        for share in (0.75, 0.5, 0.35):
            bound = int(whole * share)
            exact = minimum(problem, LOSS, {"size": bound})
            assert isinstance(exact, Assignment)
            chance = np.random.default_rng(7)
            others = [greedy(problem, bound, per_byte), greedy(problem, bound, lambda high, low: low.loss - high.loss)]
            random = [drawn(problem, bound, chance).loss / exact.loss for _ in range(DRAWS)]
            row = [Path(name).stem, len(problem.units), len(found), f"{median(times) * 1e3:.0f} ms", f"{share:.0%}"]
            row += [f"{other.loss / exact.loss:.2f}x" for other in others]
            row += [f"{min(random):.2f}x, {median(random):.2f}x of the exact loss"]
            print("| " + " | ".join(map(str, row)) + " |")


if __name__ == "__main__":
    main()
