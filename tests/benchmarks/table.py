"""Every figure in one table: accuracy, latency, calibration, other quantizers, real models, each with its bound.

    python tests/benchmarks/table.py --quick                      # some minutes: shows that everything runs
    python tests/benchmarks/table.py --json build/benchmarks.json # an hour or more on a quiet machine
    python tests/benchmarks/table.py --parts accuracy latency

A part that is left out reads "not measured". Ratios are taken between runs that alternate; the machine, its flags and
its load stand above the table. `--check` exits 1 where a bound does not hold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import accuracy
import calibration
import latency
import real
from common import ROOT, flags, machine

WITHIN = 0.01
RATIOS = {"over_float": "over float", "over_defaults": "over quantize_static defaults"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `value` None: not measured, or `note` says why; `bound` None: there is none; `most` says
    that the value may not be larger than the bound, else not smaller."""

    part: str
    what: str
    value: float | None
    unit: str = ""
    bound: float | None = None
    most: bool = True
    note: str = ""

    @property
    def holds(self) -> bool | None:
        if self.value is None or self.bound is None:
            return None
        return self.value <= self.bound if self.most else self.value >= self.bound

    def line(self) -> str:
        shown = self.note or "not measured" if self.value is None else f"{self.value:.4g} {self.unit}".strip()
        shown += f" ({self.note})" if self.note and self.value is not None else ""
        bound = "" if self.bound is None else f"{'at most' if self.most else 'at least'} {self.bound:g} {self.unit}"
        verdict = (
            "" if self.bound is None else {True: "holds", False: "**does not hold**", None: "undecided"}[self.holds]
        )
        return f"| {self.part} | {self.what} | {shown} | {bound.strip()} | {verdict} |"


def accuracy_figures(found: Mapping[str, Any]) -> list[Figure]:
    figures = []
    for name, one in found.items():
        scored = one["accuracy"]
        lost = found["float"]["accuracy"].map50_95 - scored.map50_95
        note = f"mAP50 {scored.map50:.4f}, precision {scored.precision:.3f}, recall {scored.recall:.3f}"
        figures.append(Figure("accuracy", f"{name}, mAP50-95", scored.map50_95, note=note))
        if name == accuracy.STATIC.stem:
            figures.append(Figure("accuracy", f"{name}, mAP50-95 below float", lost, bound=accuracy.LOSS))
    return figures


def latency_figures(rows: Sequence[Mapping[str, Any]], scored: Mapping[str, Any] | None) -> list[Figure]:
    """Ours, tuned, against its bounds; by hand, the fastest build whose mAP50-95 is within WITHIN of float."""
    figures = []
    for row in rows:
        threads = f"{row['threads']} thread{'s' if row['threads'] > 1 else ''}"
        name = f"{row['model']}, {threads}, {row['build']}"
        figures.append(Figure("latency", name, row["ms"], "ms", note=f"{row['over_float']:.2f} x over float"))
        if row["build"] != latency.TUNED:
            continue
        bounds = latency.NETWORKS[row["model"]].bounds
        for (key, words), bound in zip(RATIOS.items(), bounds[:2], strict=True):
            figures.append(Figure("latency", f"{name}, {words}", row[key], "x", bound, most=False))
        if bounds[2] is not None:
            ms, best = fastest_by_hand(rows, row, scored)
            figures.append(
                Figure("latency", f"{name}, over the best by hand", ms / row["ms"], "x", bounds[2], False, best)
            )
    return figures


def fastest_by_hand(
    rows: Sequence[Mapping[str, Any]], of: Mapping[str, Any], scored: Mapping[str, Any] | None
) -> tuple[float, str]:
    """(ms, build) of the fastest build by hand that is accurate enough; of all of them where accuracy is not known."""
    candidates = []
    for row in rows:
        build = str(row["build"])
        same = (row["model"], row["threads"]) == (of["model"], of["threads"])
        if not same or not build.startswith("quantize_static") or build == latency.DEFAULTS:
            continue
        known = scored is not None and build in scored
        lost = scored["float"]["accuracy"].map50_95 - scored[build]["accuracy"].map50_95 if scored and known else 0.0
        if lost <= WITHIN:
            candidates.append((float(row["ms"]), build + ("" if known else ", accuracy not measured")))
    return min(candidates, default=(float("nan"), "none is accurate enough"))


def calibration_figures(found: Mapping[str, Any]) -> list[Figure]:
    figures = [
        Figure("calibration", f"{name}, {found['images']} pictures", side.seconds, "s", note=f"{side.peak_mb:.0f} MB")
        for name, side in found["sides"].items()
    ]
    return figures + [Figure("calibration", r.what, r.figure, r.unit, r.bound) for r in calibration.rows(found)]


def peer_figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    figures = []
    for row in rows:
        name = f"{row['peer']}, {row['method']} / inference"
        if "ratio" not in row:
            figures.append(Figure("other quantizers", name, None, note=row["reason"]))
            continue
        note = f"{row['peak_mb']:.0f} MB, {row['versions']}"
        note += f"; {row['over_float']:.2f} x over float, mAP50-95 {row['map50_95']:.4f}" if "map50_95" in row else ""
        note += f"; {row['loads']}" if "loads" in row else ""
        figures.append(Figure("other quantizers", name, row["ratio"], "x", note=note))
    return figures


def real_figures(found: Mapping[str, Any]) -> list[Figure]:
    figures = []
    for name, schemes in found.items():
        for kind, each in schemes.items():
            for key, value in each.items():
                unit = "dB" if "sqnr" in key else ""
                figures.append(
                    Figure("real models", f"{name}, {kind}, {key.replace('map50_95', 'mAP50-95')}", value, unit)
                )
    return figures + [Figure("real models", r.what, r.figure, r.unit, r.bound) for r in real.rows(found)]


def measure_peers(args: Namespace, folder: Path) -> list[dict[str, Any]]:
    out = folder / "peers.json"
    command = [sys.executable, str(Path(__file__).parent / "peers" / "run.py"), "--json", str(out), "--score"]
    command += ["--images", "20" if args.quick else "300", "--model", str(args.model)]
    command += ["--venvs", str(args.venvs)] if args.venvs else []
    command += ["--only", "onnxruntime"] if args.quick else []
    subprocess.run(command, check=True, stdout=sys.stderr)
    return list(json.loads(out.read_text(encoding="utf-8")))


def measure(args: Namespace, folder: Path) -> dict[str, Any]:
    """The raw figures of every wanted part; a part that fails says why and stops no other."""
    cores = os.cpu_count() or 1
    quick = args.quick
    networks = ["mobilenet_v2"] if quick else list(latency.NETWORKS)
    methods = ["minmax", "entropy"] if quick else list(calibration.BOUNDS)
    parts: dict[str, Callable[[], Any]] = {
        "accuracy": lambda: accuracy.run(args.model, 32 if quick else 300, "few" if quick else "all", folder, cores),
        "latency": lambda: latency.run(2 if quick else 15, networks),
        "calibration": lambda: calibration.run(24 if quick else 300, 1 if quick else 3, methods, cores),
        "peers": lambda: measure_peers(args, folder),
        "real": lambda: real.run(cores, folder) if real.TESTDATA.is_dir() else "real models and pictures are not here",
    }
    found: dict[str, Any] = {}
    for name in args.parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            found[name] = parts[name]()
        except (Exception, SystemExit) as error:
            found[name] = f"failed: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
    return found


def figures_of(found: Mapping[str, Any]) -> list[Figure]:
    scored = found.get("accuracy")
    scored = None if isinstance(scored, str) else scored
    turn: dict[str, Callable[[Any], list[Figure]]] = {
        "accuracy": accuracy_figures,
        "latency": lambda rows: latency_figures(rows, scored),
        "calibration": calibration_figures,
        "peers": peer_figures,
        "real": real_figures,
    }
    figures: list[Figure] = []
    for name, make in turn.items():
        part = found.get(name)
        if part is None or isinstance(part, str):
            figures.append(Figure(name, "everything", None, note=part or ""))
        else:
            figures += make(part)
    return figures


def plain(value: Any) -> Any:
    """What JSON has no word for."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def main() -> int:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    names = ("accuracy", "latency", "calibration", "peers", "real")
    parser.add_argument("--parts", nargs="+", choices=names, default=list(names))
    parser.add_argument("--quick", action="store_true", help="few pictures and runs: the figures mean little")
    parser.add_argument("--model", type=Path, default=ROOT / "examples" / "people" / "yolov8n.onnx")
    parser.add_argument("--venvs", type=Path, default=None, help="where the other quantizers' environments are")
    parser.add_argument("--json", type=Path, default=None, help="write all raw figures to this file")
    parser.add_argument("--markdown", type=Path, default=None, help="write the table to this file")
    parser.add_argument("--check", action="store_true", help="exit 1 when a bound does not hold")
    args = parser.parse_args()
    args.model = args.model.resolve()
    before = flags()
    with tempfile.TemporaryDirectory() as temporary:
        found = measure(args, Path(temporary))
        figures = figures_of(found)
    head = [f"{machine()}; {before}; {'quick' if args.quick else 'full'}, {args.model.name}", ""]
    head += ["| part | what | figure | bound | |", "| --- | --- | --- | --- | --- |"]
    text = "\n".join([*head, *(figure.line() for figure in figures)]) + "\n"
    print(text)
    if args.markdown:
        args.markdown.write_text(text, encoding="utf-8")
    if args.json:
        held = {"machine": machine(), "flags": before, "quick": args.quick, "parts": found}
        held["figures"] = [asdict(figure) | {"holds": figure.holds} for figure in figures]
        args.json.write_text(json.dumps(held, indent=1, default=plain) + "\n", encoding="utf-8")
    return int(args.check and any(figure.holds is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
