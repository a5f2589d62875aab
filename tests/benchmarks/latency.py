"""Latency of float, ours and `quantize_static` in ONNX Runtime on the CPU, on one thread and on all of them.

Every build of a model runs in one process, block by block in turns; the fastest run of a block counts, and a ratio is
the median over blocks. Weights of MobileNetV2 and ResNet50 are random, as is what calibrates: speed does not depend on
either. Ours is compiled twice, without and with `tune latency` (on as many threads as are timed).

    python tests/benchmarks/latency.py --models yolov8n --blocks 9 --json build/latency.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import networks  # noqa: E402
from common import ROOT, machine  # noqa: E402

import qdsl  # noqa: E402

BLOCK_SECONDS = 0.15
SAMPLES = 4
FLOAT, DEFAULTS, PLAIN, TUNED = "float", "quantize_static, defaults", "ours", "ours, tuned"


class Network(NamedTuple):
    """A model by name: its input's side, the recipe lines that keep its decoding in float, and the bounds (over float,
    over the defaults, over the fastest by hand)."""

    side: int
    decode: str
    bounds: tuple[float, float, float | None]


NETWORKS = {
    "yolov8n": Network(640, "keep decode_head in float32", (2.5, 3.5, 1.1)),
    "mobilenet_v2": Network(224, "", (2.1, 1.7, None)),
    "resnet50": Network(224, "", (3.2, 2.0, None)),
}
# (name, int8 weights, per channel, decoding in float): what someone sets by hand.
HANDS = (
    ("u8s8 per channel, decode excluded", True, True, True),
    ("u8s8 per tensor, decode excluded", True, False, True),
    ("u8u8 per channel, decode excluded", False, True, True),
    ("u8u8 per tensor, decode excluded", False, False, True),
    ("u8s8 per channel", True, True, False),
    ("u8s8 per tensor", True, False, False),
)


class Reader:
    """Calibration inputs for `quantize_static`, one at a time."""

    def __init__(self, arrays: np.ndarray) -> None:
        self._left = iter([{networks.INPUT: arrays[i : i + 1]} for i in range(len(arrays))])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)


def run(blocks: int, models: list[str], threads: Sequence[int] = ()) -> list[dict[str, Any]]:
    """One row per model, number of threads (one, and all, unless given) and build: times in ms, and ratios against
    float and the defaults."""
    rows: list[dict[str, Any]] = []
    counts = sorted(set(threads) or {1, os.cpu_count() or 1})
    for name in models:
        with tempfile.TemporaryDirectory(prefix="qdsl-latency-") as folder:
            builds = _by_hand(name, Path(folder))
            for count in counts:
                ours = _ours(name, Path(folder), count)
                rows += _rows(name, count, _timed({**builds, **ours}, count, blocks))
    return rows


def _by_hand(name: str, folder: Path) -> dict[str, Path]:
    """The float model and what `quantize_static` makes of it."""
    from onnxruntime.quantization import QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    network, arrays = NETWORKS[name], _pictures(name)
    np.savez(folder / "calib.npz", images=arrays)
    source, ready = folder / "float.onnx", folder / "prepared.onnx"
    onnx.save(_model(name), source)
    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    found = {FLOAT: source, DEFAULTS: folder / "defaults.onnx"}
    quantize_static(str(ready), str(found[DEFAULTS]), Reader(arrays))
    excluded = _decode(folder) if network.decode else []
    for number, (hand, signed, per_channel, without) in enumerate(HANDS):
        if without and not excluded:
            continue
        found[f"quantize_static, {hand}"] = out = folder / f"hand_{number}.onnx"
        quantize_static(
            str(ready),
            str(out),
            Reader(arrays),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            nodes_to_exclude=excluded if without else None,
        )
    return found


def _model(name: str) -> onnx.ModelProto:
    if name == "yolov8n":
        return onnx.load(ROOT / "examples" / "people" / "yolov8n.onnx")
    return {"mobilenet_v2": networks.mobilenet_v2, "resnet50": networks.resnet50}[name]()


def _pictures(name: str) -> np.ndarray:
    """Random pictures of 8x8 patches."""
    side = NETWORKS[name].side
    small = np.random.default_rng(1).random((SAMPLES, 3, side // 8, side // 8), dtype=np.float32)
    return small.repeat(8, 2).repeat(8, 3)


def _recipe(name: str, folder: Path, stem: str, more: str) -> Path:
    lines = [
        f"recipe {stem}",
        'model onnx "float.onnx"',
        f'data calib from npz "calib.npz" {{ array "images" "{networks.INPUT}" }}',
        "quantize static { weights int8 per_channel; activations uint8; calibrate minmax on calib }",
        NETWORKS[name].decode,
        more,
        "target ort",
    ]
    path = folder / f"{stem}.q"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _decode(folder: Path) -> list[str]:
    """The nodes that our recipe keeps in float: the same for what is set by hand."""
    path = _recipe("yolov8n", folder, "head", "")
    (plan,) = qdsl.plan(path).plans
    return [node.node for node in plan.nodes if node.origin.rule.startswith("keep ")]


def _ours(name: str, folder: Path, threads: int) -> dict[str, Path]:
    found = {}
    for build, more in ((PLAIN, ""), (TUNED, f"tune latency {{ threads {threads} }}")):
        path = _recipe(name, folder, f"{build.replace(', ', '_')}_{threads}", more)
        (target,) = qdsl.compile(path, out=folder / "build", lock=False, measure=False).targets
        found[build] = target.emitted.model
    return found


def _timed(builds: Mapping[str, Path], threads: int, blocks: int) -> dict[str, list[float]]:
    """Milliseconds of the fastest run per block, by build."""
    sessions = {name: _session(path, threads) for name, path in builds.items()}
    runs = {name: _runs(session) for name, session in sessions.items()}
    found: dict[str, list[float]] = {name: [] for name in builds}
    names = list(builds)
    for block in range(blocks):
        for name in names if block % 2 == 0 else names[::-1]:
            _once(sessions[name])  # caches are another build's
            found[name].append(1e3 * min(_once(sessions[name]) for _ in range(runs[name])))
    return found


def _session(path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _runs(session: ort.InferenceSession) -> int:
    for _ in range(3):
        seconds = _once(session)
    return max(3, int(BLOCK_SECONDS / seconds))


def _once(session: ort.InferenceSession) -> float:
    given = session.get_inputs()[0]
    feed = {given.name: np.full(given.shape, 0.5, np.float32)}
    start = time.perf_counter()
    session.run(None, feed)
    return time.perf_counter() - start


def _rows(name: str, threads: int, times: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    hands = [build for build in times if build.startswith("quantize_static") and build != DEFAULTS]
    # A detector whose decoding is quantized finds nothing: those are shown and not what ours is held against.
    useful = [build for build in hands if build.endswith("decode excluded")] or hands
    fastest = min(useful, key=lambda build: statistics.median(times[build]))

    def ratio(build: str, base: str) -> float:
        return statistics.median(b / own for b, own in zip(times[base], times[build], strict=True))

    return [
        {
            "model": name,
            "threads": threads,
            "build": build,
            "ms": statistics.median(taken),
            "best_ms": min(taken),
            "over_float": ratio(build, FLOAT),
            "over_defaults": ratio(build, DEFAULTS),
            "over_best_hand": ratio(build, fastest),
            "best_hand": fastest,
        }
        for build, taken in times.items()
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    head = "| model | threads | build | ms | best | over float | over defaults | over best by hand |"
    lines = [head, "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        ratios = " | ".join(f"{row[key]:.2f}x" for key in ("over_float", "over_defaults", "over_best_hand"))
        times = f"{row['ms']:.2f} | {row['best_ms']:.2f}"
        lines.append(f"| {row['model']} | {row['threads']} | {row['build']} | {times} | {ratios} |")
    return "\n".join(lines)


def misses(rows: list[dict[str, Any]]) -> list[str]:
    """Bounds that our tuned builds do not reach."""
    found = []
    for row in (row for row in rows if row["build"] == TUNED):
        keys = ("over_float", "over_defaults", "over_best_hand")
        for key, bound in zip(keys, NETWORKS[row["model"]].bounds, strict=True):
            if bound is not None and row[key] < bound:
                found.append(f"{row['model']}, {row['threads']} threads: {key} {row[key]:.2f}x, bound {bound}x")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=15, help="blocks per build (default 15)")
    parser.add_argument("--models", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--threads", nargs="+", type=int, default=[], help="default: one, and all")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound is missed")
    args = parser.parse_args()
    rows = run(args.blocks, args.models, args.threads)
    print(f"{machine()}; {args.blocks} blocks in turns, batch 1\n\n{table(rows)}")
    for miss in misses(rows):
        print(f"missed: {miss}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return int(args.check and bool(misses(rows)))


if __name__ == "__main__":
    sys.exit(main())
