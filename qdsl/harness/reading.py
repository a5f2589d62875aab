"""Reads `measurements.json` strictly: whoever has it may have changed it."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from qdsl.diag import Diagnostic, QdslError
from qdsl.harness.measurements import (
    FORMAT,
    FORMS,
    PICTURES,
    BudgetFacts,
    BuildFacts,
    LockFacts,
    Measurements,
    ModelFacts,
)
from qdsl.harness.profiles import BuildProfile, Profile
from qdsl.harness.results import (
    FLOAT,
    Box,
    BuildScores,
    ClassMap,
    Drop,
    Evaluation,
    Key,
    Odd,
    Shown,
    Views,
)
from qdsl.harness.strict import Part, UnfitError
from qdsl.lang.vocabulary import FORMS as BUDGET_FORMS
from qdsl.lang.vocabulary import METRICS
from qdsl.spec import UNITS
from qdsl.targets.results import Fidelity

LARGEST = 64 << 20
COST = ("seconds", "cpu", "peak_memory", "bare_memory", "memory_runs", "energy")
_CELLS = 256  # the longest side of a class map
_BLOCK = 1 << 20
_SHORTEST, _LONGEST = 1e-12, 1e6  # seconds of a run: of all on average, and of each
_MOST_CPU, _MOST_ENERGY = 1e6, 1e9  # processors busy, joules per run

_Made = TypeVar("_Made")


def read(path: Path) -> Measurements:
    """What `document` wrote; of the confidences, the quantiles. Raises QdslError: measurements-missing where there is
    no file, measurements-file where it is cut off, of another format, or holds anything that does not fit."""
    return opened(path, parsed)


def opened(path: Path, make: Callable[[str], _Made], help: Sequence[str] = ()) -> _Made:
    """What `make` makes of a file's text. Raises QdslError measurements-missing and measurements-file, with `help`."""
    try:
        if path.exists() and not path.is_file():
            _refuse(path, "it is not a file", help)
        with path.open("rb") as file:
            found = file.read(min(path.stat().st_size, LARGEST) + 1)  # so much room is taken before it is read
    except OSError as error:
        absent = isinstance(error, (FileNotFoundError, NotADirectoryError))
        headline = f"there is no `{path}`" if absent else f"`{path}` cannot be read: {error.strerror or error}"
        raise QdslError([Diagnostic("measurements-missing", headline, help=tuple(help))]) from None
    if len(found) > LARGEST:
        _refuse(path, f"it is larger than {LARGEST >> 20} MiB", help)
    try:
        return make(found.decode("utf-8"))
    except (UnfitError, ValueError, RecursionError) as error:
        _refuse(path, " ".join(str(error).split())[:300], help)


def _refuse(path: Path, why: str, help: Sequence[str]) -> NoReturn:
    headline = f"`{path}` is not a file of measurements that can be read"
    raise QdslError([Diagnostic("measurements-file", headline, label=why, help=tuple(help))])


def parsed(text: str) -> Measurements:
    """The same from the file's text. Raises ValueError for what is not JSON, UnfitError for what does not fit."""
    return checked(plain_json(text))


def plain_json(text: str) -> Any:
    """Plain data out of JSON, by the letter: no NaN or Infinity, and no key twice. Raises ValueError."""
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)


def checked(content: Any) -> Measurements:
    """The same from plain data. Raises UnfitError."""
    if isinstance(content, dict) and content.get("kind") == "device":
        raise UnfitError("it is what a device measured: `qdsl report BUILD --add FILE` takes it into a build")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise UnfitError(f"it is of format {str(found)[:20]}, this program reads format {FORMAT}")
    at = Part(content, "measurements").fields(
        "format",
        "recipe",
        "recipe_sha256",
        "model",
        "builds",
        "evaluations",
        "profiles",
        "pictures",
        "environment",
        "lock",
    )
    return Measurements(
        recipe=at["recipe"].text(),
        recipe_sha256=at["recipe_sha256"].sha256(),
        model=_read_model(at["model"]),
        builds=tuple(_read_facts(name, part) for name, part in at["builds"].entries().items()),
        evaluations=tuple(_read_evaluation(part) for part in at["evaluations"].items()),
        profiles=tuple(_read_profile(part) for part in at["profiles"].items()),
        pictures=_read_files(at["pictures"]),
        environment=_read_words(at["environment"]),
        lock=at["lock"].maybe(_read_lock),
    )


def require_same(directory: Path, found: Measurements) -> None:
    """Raises QdslError measurements-other where files in the build's folder are not those that were measured. A file
    that is not there is none: measurements may travel without the artifacts."""
    wanted = {Path(PICTURES, name): digest for name, digest in found.pictures.items()}
    for build in found.builds:
        wanted |= {Path(build.target, name): digest for name, digest in build.files.items()}
    other = [name.as_posix() for name, digest in wanted.items() if digest_of(directory / name) not in (None, digest)]
    if other:
        refuse_other(directory, other)


def refuse_other(directory: Path, names: Sequence[str]) -> NoReturn:
    """Raises QdslError measurements-other for files, by their names in the build's folder."""
    headline = f"`{directory}` holds other files than were measured: {named(names)}"
    raise QdslError([Diagnostic("measurements-other", headline)])


def named(names: Sequence[str]) -> str:
    """The first of some files, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"`{name}`" for name in names[:3]) + more


def digest_of(path: Path) -> str | None:
    """The SHA-256 of a file, None where it is not there."""
    if not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(partial(file.read, _BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice[:60]!r} stands twice in one object")
    return found


def _read_words(part: Part) -> dict[str, str]:
    return {name: each.text() for name, each in part.entries().items()}


def _read_files(part: Part) -> dict[str, str]:
    """Names of files with their SHA-256. The names become paths: none may leave its folder."""
    return {Part(name, part.where).name(): each.sha256() for name, each in part.entries().items()}


def _read_lock(part: Part) -> LockFacts:
    at = part.fields("name", "sha256")
    return LockFacts(at["name"].text(), at["sha256"].sha256())


def _read_model(part: Part) -> ModelFacts:
    at = part.fields("name", "nodes", "parameters", "macs", "uncounted", "opset", "bytes", "activations", "files")
    return ModelFacts(
        name=at["name"].text(),
        nodes=at["nodes"].whole(),
        parameters=at["parameters"].whole(),
        macs=at["macs"].whole(),
        uncounted=at["uncounted"].whole(),
        opset=at["opset"].whole(),
        bytes=at["bytes"].whole(),
        activations=at["activations"].maybe(Part.whole),
        files=_read_words(at["files"]),
    )


def _read_facts(name: str, part: Part) -> BuildFacts:
    names = [name for name in BuildFacts.__dataclass_fields__ if name != "not_verified"]
    unseen = isinstance(part.value, dict) and "not_verified" in part.value
    at = part.fields(*names, *(["not_verified"] if unseen else []))
    if at["target"].name() != name:
        raise at["target"].unfit(f"expected {name!r}")
    return BuildFacts(
        target=name,
        mode=at["mode"].text(),
        device=at["device"].text(),
        bytes=at["bytes"].whole(),
        files=_read_files(at["files"]),
        plan_sha256=at["plan_sha256"].sha256(),
        integer_macs=at["integer_macs"].whole(),
        activations=at["activations"].maybe(Part.whole),
        kernels=tuple(_read_kernel(each) for each in at["kernels"].items()),
        mismatches=at["mismatches"].maybe(Part.whole),
        source=at["source"].text(),
        outputs=tuple(_read_fidelity(each) for each in at["outputs"].items()),
        layers=tuple(_read_fidelity(each) for each in at["layers"].items()),
        budgets=tuple(_read_budget(each) for each in at["budgets"].items()),
        not_verified=at["not_verified"].text() if unseen else "",
    )


def _read_kernel(part: Part) -> tuple[str, int, int]:
    kernel, predicted, real = part.row(3)
    return kernel.text(), predicted.whole(), real.whole()


def _read_fidelity(part: Part) -> Fidelity:
    at = part.fields(*Fidelity.__dataclass_fields__)
    return Fidelity(
        tensor=at["tensor"].text(),
        node=at["node"].text(),
        sqnr_db=at["sqnr_db"].maybe(Part.number),
        cosine=at["cosine"].maybe(Part.number),
        largest_error=at["largest_error"].maybe(Part.number),
        samples=at["samples"].whole(),
    )


def _read_budget(part: Part) -> BudgetFacts:
    at = part.fields(*BudgetFacts.__dataclass_fields__)
    unit = at["unit"].maybe(_read_unit)
    counted = unit is not None and UNITS[unit].measures == "bytes"
    number: Callable[[Part], float] = Part.finite if counted else Part.number
    return BudgetFacts(
        text=at["text"].text(),
        verdict=at["verdict"].one_of("holds", "broken", "undecided"),
        metric=at["metric"].one_of(*(row.name for row in METRICS)),
        qualifiers=tuple(each.text() for each in at["qualifiers"].items()),
        form=at["form"].one_of("value", "holds", *BUDGET_FORMS),
        comparison=at["comparison"].maybe(_read_comparison),
        value=at["value"].maybe(number),
        bound=at["bound"].maybe(number),
        unit=unit,
        low=at["low"].maybe(number),
        high=at["high"].maybe(number),
        source=at["source"].text(),
        statement=at["statement"].text(),
    )


def _read_comparison(part: Part) -> str:
    return part.one_of("<=", ">=", "<", ">", "==", "!=")


def _read_unit(part: Part) -> str:
    return part.one_of(*UNITS)


def _read_evaluation(part: Part) -> Evaluation:
    at = part.fields("task", "data", "condition", "statement", "samples", "classes", "asked", "builds", "odd")
    builds = tuple(_read_scores(name, each) for name, each in at["builds"].entries().items())
    if not builds or builds[0].build != FLOAT:
        raise at["builds"].unfit("expected the float model first")
    return Evaluation(
        task=at["task"].text(),
        data=at["data"].text(),
        samples=at["samples"].whole(),
        classes=tuple(each.text() for each in at["classes"].items()),
        asked=tuple(_key(each.text()) for each in at["asked"].items()),
        builds=builds,
        odd=tuple(_read_odd(each) for each in at["odd"].items()),
        condition=at["condition"].text(),
        statement=at["statement"].text(),
    )


def _key(text: str) -> Key:
    """What `str` made of a key."""
    metric, quoted, of = text.partition(' "')
    return Key(metric, of.removesuffix('"')) if quoted else Key(metric)


def _read_scores(name: str, part: Part) -> BuildScores:
    at = part.fields("scores", "drops", "confidence_quantiles", "confusion")
    confusion = tuple(tuple(cell.whole() for cell in row.items()) for row in at["confusion"].items())
    if any(len(row) != len(confusion) for row in confusion):
        raise at["confusion"].unfit("expected as many columns as rows")
    return BuildScores(
        build=name,
        scores={_key(key): each.number() for key, each in at["scores"].entries().items()},
        drops={_key(key): _read_drop(each) for key, each in at["drops"].entries().items()},
        confidences=tuple(sorted(each.finite() for each in at["confidence_quantiles"].items())),
        confusion=confusion,
    )


def _read_drop(part: Part) -> Drop:
    at = part.fields("value", "interval_95")
    low, high = at["interval_95"].row(2)
    return Drop(at["value"].number(), low.number(), high.number())


def _read_odd(part: Part) -> Odd:
    at = part.fields("build", "sample", "index", "distance", "float", "answer", "truth", "picture", "views")
    texts = {name: at[name].text() for name in ("build", "sample", "answer", "truth")}
    return Odd(
        **texts,
        distance=at["distance"].number(),
        float_answer=at["float"].text(),
        index=at["index"].whole(),
        views=at["views"].maybe(_read_views),
        picture=at["picture"].name() if at["picture"].text() else "",
    )


def _read_views(part: Part) -> Views:
    at = part.fields("height", "width", "float", "answer", "truth")
    shown = (_read_shown(at[name]) for name in ("float", "answer", "truth"))
    return Views(at["height"].whole(1), at["width"].whole(1), *shown)


def _read_shown(part: Part) -> Shown:
    at = part.fields("boxes", "cells")
    return Shown(tuple(_read_box(each) for each in at["boxes"].items()), at["cells"].maybe(_read_cells))


def _read_box(part: Part) -> Box:
    *corners, label, score = part.row(6)
    x0, y0, x1, y1 = (each.finite() for each in corners)
    return Box(x0, y0, x1, y1, label.whole(), score.maybe(Part.finite))


def _read_cells(part: Part) -> ClassMap:
    at = part.fields("height", "width", "runs")
    high, wide = (at[name].whole(1, _CELLS) for name in ("height", "width"))
    pairs = [run.partition(":") for run in at["runs"].text().split()]
    try:
        runs = tuple((int(label), int(count)) for label, _, count in pairs)
    except ValueError:
        raise at["runs"].unfit("expected `class:cells` pairs") from None
    if sum(count for _, count in runs) != high * wide or any(label < -1 or count < 1 for label, count in runs):
        raise at["runs"].unfit(f"expected runs over {high * wide} cells")
    return ClassMap(high, wide, runs)


def _read_profile(part: Part) -> Profile:
    at = part.fields("target", "measured_on", "others", "batch", "threads", "warmup", "environment", "builds")
    builds = tuple(_read_cost(name, each) for name, each in at["builds"].entries().items())
    target = at["target"].name()
    if [build.build for build in builds] != [FLOAT, target]:
        raise at["builds"].unfit(f"expected the float model and {target}")
    return Profile(
        target=target,
        batch=at["batch"].whole(1),
        threads=at["threads"].whole(),
        warmup=at["warmup"].whole(),
        builds=builds,
        environment=_read_words(at["environment"]),
        measured_on=at["measured_on"].text(),
        others=at["others"].finite(0.0, 1.0),
    )


def _read_cost(name: str, part: Part) -> BuildProfile:
    """Latencies and throughput follow from the seconds of the runs: those in the file are for other readers."""
    at = part.fields(*COST, "latency", "throughput")
    for each in (*at["latency"].fields(*FORMS).values(), at["throughput"]):
        each.finite()
    return cost_of(name, at)


def cost_of(name: str, at: Mapping[str, Part]) -> BuildProfile:
    """What one model was found to cost per run, from the fields `COST`."""
    seconds = tuple(each.finite(0.0, _LONGEST) for each in at["seconds"].items())
    if not seconds or math.fsum(seconds) < _SHORTEST * len(seconds):
        raise at["seconds"].unfit("expected the seconds of at least one run")
    memory = [each.row(2) for each in at["memory_runs"].items()]
    return BuildProfile(
        build=name,
        seconds=seconds,
        cpu=at["cpu"].finite(0.0, _MOST_CPU),
        peak_memory=at["peak_memory"].maybe(Part.whole),
        bare_memory=at["bare_memory"].maybe(Part.whole),
        energy=at["energy"].maybe(_read_energy),
        memory_runs=tuple((done.whole(), held.whole()) for done, held in memory),
    )


def _read_energy(part: Part) -> float:
    return part.finite(0.0, _MOST_ENERGY)
