"""What ST Edge AI Core said of an artifact, brought back from where it was run and kept beside the build."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.harness.engines import model_of
from qdsl.harness.measurements import BuildFacts, Measurements
from qdsl.harness.reading import opened
from qdsl.spec.bounds import FileName, Many, Sha256, Text, UnfitError
from qdsl.spec.decode import decode, json_data, require_version
from qdsl.stedgeai.told import Told

FOLDER, FORMAT, KIND, TARGET = "imported", 1, "st-report", "stm32"
TOOL = "ST Edge AI Core"
_DIGITS = 12
_Told = Annotated[str, Text(300)]


@dataclass(frozen=True, slots=True)
class StReport:
    """`told` by reports that were read of `files` (by name, with their SHA-256). `model_sha256` is of the artifact that
    it is kept beside; `checked` says that the reports name the file that was written for the tool beside it."""

    recipe: Annotated[str, Text(1 << 20)]
    target: FileName
    model_sha256: Sha256
    checked: bool
    files: Annotated[Mapping[_Told, Sha256], Many(1, 100)]
    told: Told

    @property
    def name(self) -> str:
        """Whose figures these are, in words."""
        series = f", {self.told.series}" if self.told.series else ""
        return f"{TOOL} {self.told.release}{series}"


def document(found: StReport) -> str:
    """The text of a file that `read` takes: the same reports give the same text."""
    content = {"format": FORMAT, "kind": KIND, **asdict(found)}
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def read(path: Path) -> StReport:
    """Raises QdslError: measurements-missing, measurements-file."""
    return opened(path, parsed)


def parsed(text: str) -> StReport:
    """The same from the file's text. Raises UnfitError."""
    plain = json_data(text)
    if not isinstance(plain, dict) or plain.get("kind") != KIND:
        raise UnfitError("it is nothing that was kept of ST's reports")
    told = require_version({key: value for key, value in plain.items() if key != "kind"}, "format", FORMAT)
    return decode(StReport, told, KIND)


def file_name(found: StReport) -> str:
    """Target, version, and the start of the content's SHA-256: content that is there already gets the same name."""
    release = re.sub(r"[^a-z0-9.]+", "-", found.told.release.lower())[:20]
    digest = hashlib.sha256(document(found).encode("ascii")).hexdigest()[:_DIGITS]
    return f"{FOLDER}/{found.target}-stedgeai-{release}-{digest}.json"


def kept(directory: Path, build: Measurements) -> tuple[tuple[StReport, ...], tuple[Diagnostic, ...]]:
    """What was taken in, by name of the file. A file of another artifact, or one that cannot be read, is left out with
    a warning."""
    found: list[StReport] = []
    left_out = []
    for path in sorted((directory / FOLDER).glob("*.json")):
        try:
            report = read(path)
            wrong = _foreign(build, report)
        except QdslError as error:
            wrong = error.diagnostics[0].label or error.diagnostics[0].headline
        if wrong:
            headline = f"`{FOLDER}/{path.name}` is left out: {wrong}"
            left_out.append(Diagnostic("device-left-out", headline, severity=Severity.WARNING))
        elif report not in found:
            found.append(report)
    return tuple(found), tuple(left_out)


def of_target(build: Measurements) -> BuildFacts | None:
    """The artifact of a build that ST's tool may have been given."""
    return next((each for each in build.builds if each.target == TARGET), None)


def _foreign(build: Measurements, found: StReport) -> str:
    """Why it is of something else than this build's artifact, in words; "" where it is not."""
    facts = next((each for each in build.builds if each.target == found.target), None)
    if found.recipe != build.recipe or facts is None:
        return f"it is of recipe `{found.recipe[:80]}` for `{found.target[:80]}`, which is not here"
    return "" if found.model_sha256 == model_of(facts) else f"it is of another file in place of `{found.target}` here"
