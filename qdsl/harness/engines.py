"""Engines that were built of an artifact elsewhere: what they compute, how long they take, kept beside the build."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.harness.inspected import FEW_RUNS, Examined, Verdict
from qdsl.harness.measurements import BuildFacts, Measurements
from qdsl.harness.profiles import BuildProfile
from qdsl.harness.reading import opened
from qdsl.spec.bounds import FileName, Many, Number, OneOf, Sha256, Text, UnfitError
from qdsl.spec.decode import decode, json_data, require_version
from qdsl.spec.engine import ELIMINATED, KEPT, UNKNOWN, VERDICTS

FOLDER = "engines"
FORMAT = 1
KIND = "engine"
_SLUG, _DIGITS = 80, 12
_MOST_NODES, _MOST_RUNS = 1_000_000, 10_000_000
_Name = Annotated[str, Text(1 << 20)]  # layers are named by all that they fuse
_Told = Annotated[str, Text(300)]
_Names = Annotated[tuple[_Name, ...], Many(most=_MOST_NODES)]
_Share = Annotated[float, Number(0.0, 1.0)]
_Seconds = Annotated[float, Number(1e-12, 1e6)]


@dataclass(frozen=True, slots=True)
class NodeFound:
    """What became of one planned node: see `qdsl.spec.engine.EngineVerdict`. `expect` is what it was planned in,
    `waived` why it may part from that."""

    node: _Name
    op: _Told
    expect: Annotated[str, OneOf(tuple(KEPT))]
    verdict: Annotated[str, OneOf(VERDICTS)]
    layer: _Name
    because: _Name
    share: _Share | None
    waived: _Name

    @property
    def passes(self) -> bool:
        """Whether it computes in what it was planned in, or may part from it."""
        return self._judged.passes

    @property
    def lost(self) -> bool:
        """Whether it is known to compute in something else."""
        return not self.passes and self.verdict not in (UNKNOWN, ELIMINATED)

    @property
    def _judged(self) -> Verdict:
        return Verdict(self.node, self.op, self.expect, self.verdict, waived=self.waived)


@dataclass(frozen=True, slots=True)
class Computes:
    """What an engine's inspector told: the form of its file, the planned nodes in graph order, Q/DQ and conversions
    that run as layers of their own, `boundary` those of them that have to, `aside` their part of the time, and what is
    odd."""

    form: _Told
    nodes: Annotated[tuple[NodeFound, ...], Many(most=_MOST_NODES)]
    standalone: _Names
    boundary: _Names
    reformats: _Names
    aside: _Share | None
    notes: _Names

    @staticmethod
    def of(found: Examined) -> Computes:
        nodes = tuple(NodeFound(**asdict(each)) for each in found.verdicts)
        return Computes(found.form, nodes, found.standalone, found.boundary, found.reformats, found.aside, found.notes)


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine. `device` is what people call its GPU; `gpu`, its compute `capability`, `tensorrt` and `driver` are
    as the machine told them, "" where nothing did. `model_sha256` is of the artifact that it is kept beside; `checked`
    says that the machine named the same one. `files` are those that it was read from, by kind, with their SHA-256.
    `computes` None: its layers were not brought; `seconds` of each run, () where no times were; `copies`: with copies
    of inputs and outputs."""

    recipe: _Name
    target: FileName
    model_sha256: Sha256
    checked: bool
    device: Annotated[str, Text(200, filled=True)]
    gpu: _Told
    capability: _Told
    tensorrt: _Told
    driver: _Told
    files: Mapping[_Told, Sha256]
    computes: Computes | None
    seconds: Annotated[tuple[_Seconds, ...], Many(most=_MOST_RUNS)]
    copies: bool

    @property
    def name(self) -> str:
        """Where it was built and run, in words."""
        software = f"TensorRT {self.tensorrt}" if self.tensorrt else ""
        gpu = self.gpu if self.gpu != self.device else ""
        told = ", ".join(word for word in (gpu, software) if word)
        return f"{self.device} ({told})" if told else self.device

    @property
    def timed(self) -> BuildProfile | None:
        """Its runs, None where too few were timed to say anything."""
        return BuildProfile(self.target, self.seconds, 0.0, None, None) if len(self.seconds) >= FEW_RUNS else None


def document(found: Engine) -> str:
    """The text of a file that `read` takes: the same engine gives the same text."""
    content = {"format": FORMAT, "kind": KIND, **asdict(found)}
    return json.dumps(content, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def read(path: Path) -> Engine:
    """Raises QdslError: measurements-missing, measurements-file."""
    return opened(path, _parsed)


def _parsed(text: str) -> Engine:
    plain = json_data(text)
    if not isinstance(plain, dict) or plain.get("kind") != KIND:
        raise UnfitError("it is nothing that was kept of an engine")
    told = require_version({key: value for key, value in plain.items() if key != "kind"}, "format", FORMAT)
    return decode(Engine, told, KIND)


def file_name(found: Engine) -> str:
    """Target, device, and the start of the content's SHA-256: content that is there already gets the same name."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{found.target} {found.device}".lower()).strip("-")[:_SLUG].rstrip("-")
    digest = hashlib.sha256(document(found).encode("ascii")).hexdigest()[:_DIGITS]
    return f"{FOLDER}/{slug or KIND}-{digest}.json"


def kept(directory: Path, build: Measurements) -> tuple[tuple[Engine, ...], tuple[Diagnostic, ...]]:
    """What is known of engines of the artifacts that are there, by name of the file. A file of another artifact, or one
    that cannot be read, is left out with a warning."""
    found: list[Engine] = []
    left_out = []
    for path in sorted((directory / FOLDER).glob("*.json")):
        try:
            engine = read(path)
            wrong = foreign(build, engine)
        except QdslError as error:
            wrong = error.diagnostics[0].label or error.diagnostics[0].headline
        if wrong:
            headline = f"`{FOLDER}/{path.name}` is left out: {wrong}"
            left_out.append(Diagnostic("device-left-out", headline, severity=Severity.WARNING))
        elif engine not in found:
            found.append(engine)
    return tuple(found), tuple(left_out)


def foreign(build: Measurements, found: Engine) -> str:
    """Why it is of something else than this build's artifact, in words; "" where it is not."""
    facts = next((each for each in build.builds if each.target == found.target), None)
    if found.recipe != build.recipe or facts is None:
        return f"it is of recipe `{found.recipe[:80]}` for `{found.target[:80]}`, which is not here"
    return "" if found.model_sha256 == model_of(facts) else f"it is of another file in place of `{found.target}` here"


def model_of(facts: BuildFacts) -> str:
    """The SHA-256 of an artifact's model file."""
    return next(iter(facts.files.values()), "")


def counts(nodes: Sequence[NodeFound]) -> tuple[tuple[str, int], ...]:
    """How many nodes have which verdict, in the order of verdicts."""
    told = [each.verdict for each in nodes]
    return tuple((verdict, told.count(verdict)) for verdict in VERDICTS if verdict in told)
