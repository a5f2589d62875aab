"""Reports of ST Edge AI Core, taken in beside the build whose file it was given. They decide no budget: what ST's C
takes is nothing that the artifact's own C takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.harness.engines import model_of
from qdsl.harness.measurements import Measurements
from qdsl.harness.reading import opened
from qdsl.harness.st_reports import TARGET, TOOL, StReport, document, file_name, of_target, parsed
from qdsl.spec.bounds import UnfitError
from qdsl.stedgeai.brought import READERS, inside, joined, kind_of

_CURE = "add the reports as the tool wrote them, of one run: `sh run.sh` in the artifact's `stedgeai/`, then its `out/`"
_PACKAGE = Path("stedgeai", "model.onnx")  # beside the artifact's model: what the tool was given


@dataclass(frozen=True, slots=True)
class BroughtReport:
    """One report: where it stands, what it is, and its text."""

    path: Path
    kind: str
    text: str


def sorted_out(paths: Iterable[Path]) -> tuple[tuple[BroughtReport, ...], tuple[Path, ...]]:
    """The reports of ST's tool, and the other files. A folder stands for the reports in it."""
    found, others = [], []
    for path in (one for each in paths for one in inside(each) or (each,)):
        try:
            text = opened(path, str)
        except QdslError:  # told with what is wrong with the others
            others.append(path)
            continue
        kind = kind_of(text)
        if kind is None:
            others.append(path)
        else:
            found.append(BroughtReport(path, kind, text))
    return tuple(found), tuple(others)


def taken_in(directory: Path, build: Measurements, brought: Sequence[BroughtReport]) -> tuple[str, str]:
    """The name in the build's folder, and the text, under which reports are kept. Raises QdslError: measurements-file,
    st-files."""
    names = ", ".join(f"`{each.path}`" for each in brought[:3])
    facts = of_target(build)
    if facts is None:
        headline = f"the build has no target `{TARGET}`, and these are reports of {TOOL}: {names}"
        _refuse(headline, "name the folder of the build whose file the tool was given")
    told = [opened(each.path, READERS[each.kind], (_CURE,)) for each in _ordered(brought)]
    try:
        whole = joined(told)
    except UnfitError as error:
        _refuse(f"{names} do not belong together: {error}", _CURE)
    given = directory / facts.target / _PACKAGE
    found = StReport(
        recipe=build.recipe,
        target=facts.target,
        model_sha256=model_of(facts),
        checked=given.is_file() and whole.model_hash.lower() == f"0x{_md5(given)}",
        files={each.path.name[:300]: hashlib.sha256(each.text.encode()).hexdigest() for each in brought},
        told=whole,
    )
    text = document(found)
    try:
        parsed(text)
    except UnfitError as error:
        _refuse(f"{names} say what no network takes: {error}", _CURE)
    return file_name(found), text


def _ordered(brought: Sequence[BroughtReport]) -> list[BroughtReport]:
    """First what says most, and of texts that of the validation."""
    kinds = list(READERS)
    return sorted(brought, key=lambda each: (kinds.index(each.kind), "validate" not in each.path.name, each.path.name))


def _md5(path: Path) -> str:
    """What ST's tool tells of a model file, to know it again; nothing is protected by it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def overlapping(found: Iterable[StReport]) -> tuple[Diagnostic, ...]:
    """A warning for each plan of memory in which buffers lie over each other while both are in use."""
    return tuple(
        Diagnostic(
            "st-overlap",
            f"the memory plan of {each.name} is not sound: {each.told.overlaps[0]}",
            label=f"and {len(each.told.overlaps) - 1} more" if len(each.told.overlaps) > 1 else "",
            help=("generate the C anew with another version of the tool, and hold its outputs against the samples",),
            severity=Severity.WARNING,
        )
        for each in found
        if each.told.overlaps
    )


def _refuse(headline: str, cure: str) -> NoReturn:
    raise QdslError([Diagnostic("st-files", headline, help=(cure,))])
