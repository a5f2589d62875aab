"""Whole-process times of the verbs people type most, in turn with a bare interpreter.

Bounds: `qdsl --help` at most 0.1 s above bare Python, `qdsl check` on a 100-line recipe under 0.25 s, `qdsl plan` on
YOLOv8n under 1.5 s.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import ROOT, Row, alternate, arguments, finish, machine, median, process, qdsl


def hundred_lines(folder: Path) -> Path:
    """A recipe of 100 lines: the shipped detector recipe and as many layer rules as it takes."""
    shipped = (ROOT / "recipes" / "yolov8n_static.q").read_text(encoding="utf-8")
    text = shipped.replace("recipe yolov8n_static", "recipe hundred").replace('"../', f'"{ROOT}/')
    lines = text.rstrip("\n").split("\n")
    lines += [
        f'layers under "/model.{i % 22}" and op Conv {{ weights int8 per_channel }}' for i in range(100 - len(lines))
    ]
    path = folder / "hundred.q"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def main() -> int:
    args = arguments(__doc__ or "", runs=9)
    with tempfile.TemporaryDirectory() as folder:
        recipe = hundred_lines(Path(folder))
        sides = {
            "python": process([sys.executable, "-c", "pass"]),
            "help": process(qdsl("--help")),
            "check": process(qdsl("check", str(recipe))),
            "plan": process(qdsl("plan", "recipes/yolov8n_static.q")),
        }
        taken = {name: median(values) for name, values in alternate(sides, args.runs).items()}
    print(f"{machine()}; median of {args.runs} alternating runs; bare python {taken['python']:.3f} s")
    rows = [
        Row("qdsl --help, above bare Python", taken["help"] - taken["python"], "s", 0.1),
        Row("qdsl check, 100 lines", taken["check"], "s", 0.25),
        Row("qdsl plan, YOLOv8n", taken["plan"], "s", 1.5),
    ]
    return finish(rows, args.check)


if __name__ == "__main__":
    sys.exit(main())
