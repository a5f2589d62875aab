"""Fill the tables and draw the figures of docs/studies.md and README.md from measurements.json files.

    for recipe in recipes/*.q; do qdsl compile $recipe; done
    python examples/studies.py --builds build --figures docs/studies docs/studies.md README.md

A table stands between `<!-- table: NAME -->` and `<!-- end -->`. What was not measured reads "not measured".
"""

from __future__ import annotations

import math
import re
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qdsl.diag import QdslError
from qdsl.harness.measurements import FILE, BudgetFacts, BuildFacts, Measurements
from qdsl.harness.profiles import BuildProfile
from qdsl.harness.reading import read
from qdsl.harness.results import FLOAT, Evaluation, Key
from qdsl.report import charts
from qdsl.report.axes import axis
from qdsl.report.charts import Series, Words
from qdsl.report.words import NOT_MEASURED
from qdsl.spec.emulated import Emulated
from qdsl.targets.stm32 import latency
from qdsl.targets.stm32.boards import board_named

TARGET = "ort"
MEBI, KIBI = 1 << 20, 1 << 10
BOARD = "STM32H7B3I-DK"
INKS = ("#0069ad", "#c24d00", "#007f5c", "#a6437c", "#8f6100")
DASHES = ("", "7 3", "2 3", "10 3 2 3", "4 4")


@dataclass(frozen=True, slots=True)
class Row:
    """One model of one build: the name of its recipe, and FLOAT or the target."""

    name: str
    recipe: str
    build: str = TARGET
    data: str = "val"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a row: None for what is not."""

    row: Row
    found: Measurements | None

    @property
    def evaluation(self) -> Evaluation | None:
        every = self.found.evaluations if self.found is not None else ()
        return next((e for e in every if e.data == self.row.data and not e.condition), None)

    @property
    def profile(self) -> BuildProfile | None:
        every = self.found.profiles if self.found is not None else ()
        return next((p.of(self.row.build) for p in every if p.target == self.target and p.decides), None)

    @property
    def bytes(self) -> int | None:
        if self.found is None:
            return None
        if self.row.build == FLOAT:
            return self.found.model.bytes
        return self.built.bytes if self.built is not None else None

    @property
    def built(self) -> BuildFacts | None:
        every = self.found.builds if self.found is not None else ()
        return next((build for build in every if build.target == self.target), None)

    @property
    def target(self) -> str:
        """The target whose build the row is of, or is beside."""
        return TARGET if self.row.build == FLOAT else self.row.build

    @property
    def budgets(self) -> Sequence[BudgetFacts]:
        return self.built.budgets if self.built is not None and self.row.build != FLOAT else ()

    def verdict(self, metric: str) -> str:
        """What became of the budget on a metric: "holds", "broken", "undecided"; nothing where there is none."""
        return next((budget.verdict for budget in self.budgets if budget.text.startswith(metric)), "")

    def score(self, key: Key) -> str:
        """The figure; behind a build's, how much it lost, with its interval."""
        if self.evaluation is None:
            return NOT_MEASURED
        scores = self.evaluation.of(self.row.build)
        value, drop = scores.scores.get(key), scores.drops.get(key)
        if value is None or math.isnan(value):
            return NOT_MEASURED
        if drop is None or math.isnan(drop.low):
            return f"{value:.3f}"
        return f"{value:.3f} (lost {points(drop.value)} [{points(drop.low)}, {points(drop.high)}])"

    def plain_score(self, key: Key) -> str:
        return self.score(key).partition(" (")[0]


def points(value: float) -> str:
    """A fraction in percentage points, without a sign before zero."""
    return f"{100 * value:.1f}".replace("-0.0", "0.0")


Column = tuple[str, Callable[[Known], str]]


def scored(title: str, metric: str, of: str = "", *, drop: bool = False) -> Column:
    key = Key(metric, of)
    return title, lambda known: known.score(key) if drop else known.plain_score(key)


def of_profile(title: str, told: Callable[[BuildProfile], str]) -> Column:
    return title, lambda known: NOT_MEASURED if known.profile is None else told(known.profile)


def _latency(profile: BuildProfile) -> str:
    value = 1e3 * profile.latency()
    return f"{value:.1f} ms" if value >= 10 else f"{value:.2f} ms"


def _memory(profile: BuildProfile) -> str:
    return NOT_MEASURED if profile.peak_memory is None else f"{profile.peak_memory / MEBI:.0f} MiB"


def _size(known: Known) -> str:
    if known.bytes is None:
        return NOT_MEASURED
    return f"{known.bytes / MEBI:.2f} MiB" if known.bytes >= MEBI else f"{known.bytes / KIBI:.0f} KiB"


def _macs(known: Known) -> str:
    return NOT_MEASURED if known.found is None else f"{known.found.model.macs / 1e6:.1f} M"


def on_core(title: str, told: Callable[[Emulated], str]) -> Column:
    """What C did on an emulated core."""

    def cell(known: Known) -> str:
        found = known.built.emulated if known.built is not None else None
        return NOT_MEASURED if found is None else told(found)

    return title, cell


def _macc(known: Known) -> str:
    found = known.built.macc if known.built is not None else None
    return NOT_MEASURED if found is None else f"{found:,}"


def _per_mac(found: Emulated) -> str:
    per = found.instructions_per_mac
    return NOT_MEASURED if per is None else f"{found.instructions / 1e6:.1f} M ({per:.2f})"


def _on_board(known: Known) -> str:
    """What a run is predicted to take on the board: where it fits, and for integers alone, of which others published
    figures."""
    built, board = known.built, board_named(BOARD)
    if built is None or built.emulated is None:
        return NOT_MEASURED
    found = built.emulated
    if found.flash > board.flash_bytes or found.ram > board.largest.bytes:
        return "does not fit"
    times = latency.predicted(board, found.macs) if built.mode == "static" else None
    return "unknown" if times is None else f"{1e3 * times[0]:.0f} to {1e3 * times[1]:.0f} ms"


def _required(known: Known) -> str:
    """Every budget of the recipe, and what became of it."""
    return ", ".join(f"{each.text} {each.verdict}" for each in known.budgets) or NOT_MEASURED


LATENCY = of_profile("latency", _latency)
CPU = of_profile("processor", lambda profile: f"{100 * profile.cpu:.0f} %")
MEMORY = of_profile("memory", _memory)
SIZE: Column = ("size", _size)
DETECTOR = (
    Row("float", "yolov8n_static", FLOAT),
    Row("static (`yolov8n_static.q`)", "yolov8n_static"),
    Row("dynamic (`yolov8n_dynamic.q`)", "yolov8n_dynamic"),
    Row("float16 (`yolov8n_fp16.q`)", "yolov8n_fp16"),
    Row("tutorial settings (`yolov8n_study.q`)", "yolov8n_study"),
)
RATIOS = tuple(Row(f"{share} (`cracks_v1_{word}.q`)", f"cracks_v1_{word}") for share, word in (
    ("50 : 50", "50_50"), ("80 : 20", "80_20"), ("95 : 5", "95_5"),
))  # fmt: skip
CRACKS = (
    Row("V1, float", "cracks_v1_static", FLOAT),
    Row("V1, static", "cracks_v1_static"),
    Row("V1, dynamic", "cracks_v1_dynamic"),
    Row("V2, float", "cracks_v2_static", FLOAT),
    Row("V2, static", "cracks_v2_static"),
    Row("V2, dynamic", "cracks_v2_dynamic"),
)
STM32 = tuple(
    Row(f"{name}, {build} (`{recipe}.q`)", recipe, "stm32")
    for name in ("V1", "V2")
    for build, recipe in (
        ("float", f"cracks_{name.lower()}_stm32_float"),
        ("dynamic", f"cracks_{name.lower()}_stm32_dynamic"),
        ("static", f"cracks_{name.lower()}_stm32"),
    )
)
METU = tuple(
    Row(f"{name}, {build}", f"cracks_metu_{name.lower()}", FLOAT if build == "float" else TARGET, "metu")
    for name in ("V1", "V2")
    for build in ("float", "static")
)
STEEL = (
    Row("float", "steel_default", FLOAT),
    Row("by chance", "steel_default"),
    Row("oversampled 10 times", "steel_oversampled"),
    Row("percentile 99.99, oversampled", "steel_percentile"),
    Row("weights per tensor, oversampled", "steel_per_tensor"),
)
ORIN = (
    Row("float", "steel_orin", FLOAT),
    Row("by chance (`steel_orin.q`)", "steel_orin", "tensorrt"),
    Row("rebalanced (`steel_orin_rebalanced.q`)", "steel_orin_rebalanced", "tensorrt"),
    Row("percentile 99.99, rebalanced (`steel_orin_percentile.q`)", "steel_orin_percentile", "tensorrt"),
    Row("int8 and float16, rebalanced (`steel_orin_mixed.q`)", "steel_orin_mixed", "tensorrt"),
)
DEFECTS = ("crack", "inclusion", "pit", "scale")
TABLES: Mapping[str, tuple[Sequence[Row], Sequence[Column]]] = {
    "detector": (
        DETECTOR,
        (
            scored("precision", "precision"),
            scored("recall", "recall"),
            scored("mAP50", "map50"),
            scored("mAP50-95 (fitness)", "map50_95", drop=True),
            *(LATENCY, CPU, MEMORY, SIZE),
        ),
    ),
    "cracks": (
        CRACKS,
        (
            scored("accuracy", "top1"),
            scored("F1 of cracks", "f1", "crack", drop=True),
            ("MACC", _macs),
            *(SIZE, LATENCY, MEMORY),
        ),
    ),
    "cracks-device": (
        STM32,
        (
            scored("F1 of cracks", "f1", "crack", drop=True),
            ("MACC", _macc),
            on_core("flash", lambda found: f"{found.flash:,}"),
            on_core("RAM + stack", lambda found: f"{found.ram:,} + {found.stack:,}"),
            on_core("instructions (per multiplication)", _per_mac),
            (BOARD, _on_board),
            ("required", _required),
        ),
    ),
    "cracks-ratio": (
        (Row("float", "cracks_v1_static", FLOAT), *RATIOS),
        (scored("F1 of clean", "f1", "clean", drop=True), scored("F1 of cracks", "f1", "crack", drop=True)),
    ),
    "cracks-metu": (
        METU,
        (
            scored("accuracy", "top1"),
            scored("precision", "precision", "Positive"),
            scored("recall", "recall", "Positive"),
            scored("F1", "f1", "Positive", drop=True),
        ),
    ),
    "steel": (STEEL, (*(scored(name, "map50", name, drop=True) for name in DEFECTS), SIZE, LATENCY)),
    "steel-orin": (
        ORIN,
        (
            *(scored(name, "map50", name, drop=True) for name in DEFECTS),
            scored("mAP50-95", "map50_95", drop=True),
            SIZE,
            ("latency <= 14 ms", lambda known: known.verdict("latency")),
            ("memory <= 180 MB", lambda known: known.verdict("memory")),
        ),
    ),
    "steel-strict": (STEEL, tuple(scored(name, "map50_95", name, drop=True) for name in DEFECTS)),
}


def known(builds: Path, row: Row) -> Known:
    """What is known of a row; a build that is not there leaves it empty. Raises QdslError for a damaged file."""
    path = builds / row.recipe / FILE
    return Known(row, read(path) if path.is_file() else None)


def table(builds: Path, name: str) -> str:
    """A table as Markdown. Raises KeyError for a name that is none."""
    rows, columns = TABLES[name]
    lines = ["| | " + " | ".join(title for title, _ in columns) + " |", "| --- |" + " --- |" * len(columns)]
    for row in rows:
        one = known(builds, row)
        lines.append(f"| {row.name} | " + " | ".join(told(one) for _, told in columns) + " |")
    return "\n".join(lines)


def machine(builds: Path) -> str:
    """What the figures of the builds were measured on."""
    words = []
    for row in (row for rows, _ in TABLES.values() for row in rows):
        found = known(builds, row).found
        if found is not None:
            said = found.environment
            words.append(
                f"{said.get('processor')}, {said.get('processors')} processors, onnxruntime {said.get('onnxruntime')}"
            )
    return "; ".join(dict.fromkeys(words)) or NOT_MEASURED


def filled(text: str, builds: Path) -> str:
    """The text with every table made anew."""

    def one(match: re.Match[str]) -> str:
        name = match[2]
        made = machine(builds) if name == "machine" else table(builds, name)
        return f"{match[1]}\n{made}\n{match[3]}"

    return re.sub(r"(<!-- table: ([a-z-]+) -->)\n.*?(<!-- end -->)", one, text, flags=re.DOTALL)


# ---- figures ---------------------------------------------------------------------------------------------------------


def _confidences(found: Sequence[Known]) -> tuple[Words, Sequence[Series], str, str, bool]:
    series = []
    for at, one in enumerate(found):
        rising = one.evaluation.of(one.row.build).confidences if one.evaluation is not None else ()
        if rising:
            steps = ((value, 100 * (n + 1) / len(rising)) for n, value in enumerate(rising))
            series.append(Series(_short(one), at, ((rising[0], 0.0), *steps)))
    return Words("", "Distribution of confidences", ""), series, "confidence", "share of answers in %", True


def _latencies(found: Sequence[Known]) -> tuple[Words, Sequence[Series], str, str, bool]:
    series = [
        Series(_short(one), at, tuple((n + 1.0, 1e3 * value) for n, value in enumerate(one.profile.seconds)))
        for at, one in enumerate(found)
        if one.profile is not None
    ]
    return Words("", "Latency of each inference", ""), series, "inference", "latency in ms", False


def _memories(found: Sequence[Known]) -> tuple[Words, Sequence[Series], str, str, bool]:
    series = [
        Series(_short(one), at, tuple((float(done), held / MEBI) for done, held in one.profile.memory_runs))
        for at, one in enumerate(found)
        if one.profile is not None and one.profile.memory_runs
    ]
    return Words("", "Memory over inferences", ""), series, "inferences done", "memory in MiB", True


FIGURES = {"confidence": _confidences, "latency": _latencies, "memory": _memories}


def _short(known: Known) -> str:
    return known.row.name.split()[0]


def svg(name: str, builds: Path) -> str | None:
    """A figure of the detector's builds as a file of its own; None where nothing of it was measured."""
    words, series, across, up, steps = FIGURES[name]([known(builds, row) for row in DETECTOR])
    if not series:
        return None
    x = axis(across, (point[0] for each in series for point in each.points), zero=name != "confidence")
    y = axis(up, (point[1] for each in series for point in each.points), zero=True)
    figure = str(charts.lines(words, x, y, series, steps=steps))
    match = re.search(r'<svg viewBox="0 0 (\S+) (\S+)"(.*?)</svg>', figure, re.DOTALL)
    assert match is not None, "a chart is an image"
    wide, high = float(match[1]), float(match[2])
    box = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high + 24:g}" width="{2 * wide:g}"'
    return f"{box}{match[3]}{_key(series, high)}<style>{_style()}</style></svg>\n"


def _key(series: Sequence[Series], level: float) -> str:
    parts = []
    for at, each in enumerate(series):
        left = 8 + 88 * at
        parts.append(f'<path d="M{left} {level + 10:g}h18" class="line s{each.style}"/>')
        parts.append(f'<text x="{left + 22}" y="{level + 14:g}">{each.name}</text>')
    return "".join(parts)


def _style() -> str:
    lines = [
        "svg{background:#fff}text{fill:#1b2026;font:11px sans-serif}.tick,.axis{fill:#59626d}",
        ".middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#d5d9de;fill:none}.rule{stroke:#59626d}",
        ".line{fill:none;stroke-width:1.6;stroke-linejoin:round}",
    ]
    lines += [
        f".s{at}{{stroke:{ink};stroke-dasharray:{dash or 'none'}}}"
        for at, (ink, dash) in enumerate(zip(INKS, DASHES, strict=True))
    ]
    return "".join(lines)


def main() -> int:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, help="Markdown files whose tables are filled")
    parser.add_argument("--builds", type=Path, default=Path("build"), help="where the builds are (default: build)")
    parser.add_argument("--figures", type=Path, help="the folder that the figures go to")
    args = parser.parse_args()
    try:
        texts = {path: filled(path.read_text(encoding="utf-8"), args.builds) for path in args.files}
        drawn = {name: svg(name, args.builds) for name in FIGURES} if args.figures else {}
    except (QdslError, KeyError) as error:
        print(f"studies: {error}", file=sys.stderr)
        return 1
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    for name, content in drawn.items():
        if content is not None:
            args.figures.mkdir(parents=True, exist_ok=True)
            (args.figures / f"{name}.svg").write_text(content, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
