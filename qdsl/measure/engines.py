"""Engines that were built of an artifact elsewhere, taken in beside it, and what they decide of its budgets."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn, TypeVar

from qdsl.diag import Diagnostic, QdslError
from qdsl.engines.brought import BUILD, BUILD_FILE, FILES, LAYERS, PROFILE, TIMES, BuiltWith, kind_of, read_build
from qdsl.engines.times import Times, read_times
from qdsl.harness.engines import Computes, Engine, document, file_name, model_of
from qdsl.harness.inspected import asked_of, inspected, read_profile
from qdsl.harness.measurements import BudgetFacts, BuildFacts, Measurements
from qdsl.harness.profiles import FORMS
from qdsl.harness.reading import opened
from qdsl.measure.budgets import Name, Reading, spread_of, worst
from qdsl.spec.engine import QUANT_MANIFEST
from qdsl.spec.engine_json import manifest_of
from qdsl.spec.words import count
from qdsl.targets import capability_of

_Made = TypeVar("_Made")

TARGET = "tensorrt"
SURVIVAL = ("qdq", ("survives",))
_LONGEST_NAME = 200
_CURES = {
    LAYERS: "write it anew, of an engine of this build's model.onnx: `sh commands.sh build profile` beside it",
    PROFILE: "write it anew: `sh commands.sh profile` beside the artifact, on the machine that has the engine",
    TIMES: "write it anew: `sh commands.sh profile` beside the artifact, on the machine that has the engine",
    BUILD: "take it as build_engine.py wrote it, or leave it out, and name the GPU: `--device NAME`",
}


@dataclass(frozen=True, slots=True)
class Brought:
    """Files about one engine: the path and the text of each, by kind."""

    paths: Mapping[str, Path]
    texts: Mapping[str, str]


def sorted_out(paths: Sequence[Path]) -> tuple[Brought | None, tuple[Path, ...]]:
    """The files that speak of an engine, all of one, and the others. `build.json` beside one of them goes with it; a
    folder stands for those of its files that are called as the scripts beside an artifact call them. Raises QdslError:
    engine-files for two of a kind, and what reading that build.json raises."""
    found: dict[str, Path] = {}
    texts: dict[str, str] = {}
    others = []
    for path in (one for each in paths for one in _inside(each)):
        try:
            text = opened(path, str)
        except QdslError:  # told with what is wrong with the others
            others.append(path)
            continue
        kind = kind_of(text)
        if kind is None:
            others.append(path)
            continue
        if kind in found:
            headline = f"`{found[kind]}` and `{path}` are both {kind} of an engine: which belong together is not known"
            _refuse(headline, "add the files of one engine at a time")
        found[kind], texts[kind] = path, text
    if not found:
        return None, tuple(others)
    beside = next((path.parent / BUILD_FILE for path in found.values() if (path.parent / BUILD_FILE).is_file()), None)
    if BUILD not in found and beside is not None:
        found[BUILD], texts[BUILD] = beside, opened(beside, str)
    return Brought(found, texts), tuple(others)


def _inside(path: Path) -> tuple[Path, ...]:
    """The files of a folder that was brought back; the path itself where it is no such folder."""
    return tuple(path / name for name in FILES if (path / name).is_file()) or (path,)


def taken_in(directory: Path, build: Measurements, brought: Brought, device: str | None) -> tuple[str, str]:
    """The name in the build's folder, and the text, under which an engine is kept. `device` is what to call its GPU.
    Raises QdslError: measurements-file, measurements-other, engine-files."""
    facts = next((each for each in build.builds if each.target == TARGET), None)
    if facts is None:
        _refuse(f"the build has no target `{TARGET}`, and these are files of an engine: {_named(brought)}",
                "name the folder of the build that the engine is of")  # fmt: skip
    if not brought.texts.keys() & {LAYERS, TIMES}:
        _refuse(f"{_named(brought)} says neither what an engine computes nor how long its runs take",
                "add its layers (`--exportLayerInfo`), or its times (`--exportTimes`), too")  # fmt: skip
    built = _read(brought, BUILD, read_build) if BUILD in brought.texts else BuiltWith()
    if PROFILE in brought.texts:
        _read(brought, PROFILE, read_profile)  # what is wrong with it is told of it, not of the layers
    times = _read(brought, TIMES, read_times) if TIMES in brought.texts else Times((), False)
    found = Engine(
        recipe=build.recipe,
        target=facts.target,
        model_sha256=model_of(facts),
        checked=_is_of(facts, built, brought),
        device=_device(device, built, brought),
        gpu=built.gpu,
        capability=built.capability,
        tensorrt=built.tensorrt,
        driver=built.driver,
        files={kind: hashlib.sha256(text.encode()).hexdigest() for kind, text in sorted(brought.texts.items())},
        computes=_computes(directory, facts, brought) if LAYERS in brought.texts else None,
        seconds=times.seconds,
        copies=times.copies,
    )
    return file_name(found), document(found)


def _read(brought: Brought, kind: str, make: Callable[[str], _Made]) -> _Made:
    return opened(brought.paths[kind], make, (_CURES[kind],))


def _is_of(facts: BuildFacts, built: BuiltWith, brought: Brought) -> bool:
    """Whether the machine says that the engine is of this artifact; raises measurements-other where it is of another,
    False where nothing says so."""
    if built.model_sha256 and built.model_sha256 != model_of(facts):
        headline = f"`{brought.paths[BUILD]}` is of an engine of another model than `{facts.target}` holds here"
        help = ("build the engine of this build's model.onnx: `python3 build_engine.py` beside it",)
        raise QdslError([Diagnostic("measurements-other", headline, help=help)])
    return bool(built.model_sha256)


def _device(device: str | None, built: BuiltWith, brought: Brought) -> str:
    name = (device or built.gpu).strip()
    if not name:
        _refuse(f"nothing says on which GPU the engine is: {_named(brought)}",
                'say so (`--device "Jetson Orin Nano"`), or put the build.json of build_engine.py beside')  # fmt: skip
    return name[:_LONGEST_NAME]


def _computes(directory: Path, facts: BuildFacts, brought: Brought) -> Computes:
    path = directory / facts.target / QUANT_MANIFEST
    manifest = opened(path, manifest_of, ("compile the recipe again: it writes the manifest",))
    if manifest.sha256 != model_of(facts):
        headline = f"`{path}` is of another model than was measured"
        raise QdslError([Diagnostic("measurements-other", headline, help=("compile the recipe again",))])
    wanted = asked_of(manifest)
    profile = brought.texts.get(PROFILE)
    return Computes.of(_read(brought, LAYERS, lambda text: inspected(wanted, text, profile)))


def _named(brought: Brought) -> str:
    return ", ".join(f"`{path}`" for path in brought.paths.values())


def _refuse(headline: str, cure: str) -> NoReturn:
    raise QdslError([Diagnostic("engine-files", headline, help=(cure,))])


# ---- what they decide ------------------------------------------------------------------------------------------------


def unlike(found: Engine, device: str) -> str:
    """Why an engine says nothing of the device that a recipe names, in words: its GPU is of another compute capability;
    "" where it is not known to be."""
    wanted = ".".join(map(str, capability_of(device) or ()))
    if not wanted or found.capability in ("", wanted):
        return ""
    return f"on {found.name}, of compute capability {found.capability}, and {device} is {wanted}"


def latencies(found: Engine, device: str) -> dict[Name, Reading]:
    """What its runs took, as figures: none of another kind of GPU than the recipe names, or of few runs."""
    timed, other = found.timed, unlike(found, device)
    if not found.seconds:
        return {}
    copies = "with" if found.copies else "without"
    source = f"measured on {found.name}, {count(len(found.seconds), 'run')}, {copies} copies"
    source += _word(found)
    if timed is None or other:
        why = f"measured {other}" if other else f"{source}: too few"
        return {("latency", form): Reading(float("nan"), source=why) for form in ((), *((form,) for form in FORMS))}
    spread = spread_of(timed.turns)
    readings: dict[Name, Reading] = {
        ("latency", (form,)): Reading(timed.latency(form), source=source, spread=spread) for form in FORMS
    }
    readings["latency", ()] = readings["latency", ("p50",)]
    return readings


def surviving(budget: BudgetFacts, engines: Sequence[Engine], device: str) -> BudgetFacts:
    """`require qdq survives` by the engines whose layers are known: what is lost in one of them is lost."""
    known = [each for each in engines if each.computes is not None]
    if not known:
        return budget
    return worst([_survives(budget, each, each.computes, device) for each in known if each.computes is not None])


def _survives(budget: BudgetFacts, engine: Engine, found: Computes, device: str) -> BudgetFacts:
    other = unlike(engine, device)
    lost = [each for each in found.nodes if each.lost]
    open_ = [each for each in found.nodes if not each.passes and not each.lost]
    kept = len(found.nodes) - len(lost) - len(open_)
    share = kept / len(found.nodes) if found.nodes else None
    told = f"{kept} of {count(len(found.nodes), 'planned node')}, engine on {engine.name}{_word(engine)}"
    if other:
        return replace(budget, verdict="undecided", value=None, source=f"the engine is {other}")
    if lost:
        first = f"`{lost[0].node[:80]}` {lost[0].because}"
        return replace(budget, verdict="broken", value=share, source=f"{told}: {first}{_more(lost)}")
    if open_ or not found.nodes:
        why = f": `{open_[0].node[:80]}`: {open_[0].because}{_more(open_)}" if open_ else ": nothing was planned"
        return replace(budget, verdict="undecided", value=None, source=told + why)
    return replace(budget, verdict="holds", value=share, source=told)


def _word(engine: Engine) -> str:
    """That nothing but who added it says of which model the engine is: layers of another may have the same names."""
    return "" if engine.checked else ", by the word of who added it"


def _more(nodes: Sequence[object]) -> str:
    return f", and {len(nodes) - 1} more" if len(nodes) > 1 else ""
