"""What `bench.py` measured on a device: read strictly, held against the build it belongs to, and kept beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from qdsl.diag import Diagnostic, QdslError, Severity
from qdsl.harness import bundle
from qdsl.harness.check import FORMAT, json_ready
from qdsl.harness.checks import Agreement, Arithmetic, Kept, Name, Told, emulated_words, require_builds
from qdsl.harness.measurements import BuildFacts, Measurements
from qdsl.harness.profiles import COST, BuildProfile, Profile
from qdsl.harness.reading import digest_of, named, opened
from qdsl.harness.results import FLOAT
from qdsl.spec.bounds import FILE_NAME, Check, Count, Figure, FileName, Keyed, Many, Sha256, Text, UnfitError, Whole
from qdsl.spec.decode import decode, json_data, require_version

FOLDER = "devices"
_SLUG, _DIGITS = 80, 12
_ABOVE = "../"  # where the artifact lies, as seen from the bundle
_CURE = ("measure on the device: `python bench/bench.py`, in a copy of this build's folder of the target",)
_OR_ST = "or what ST Edge AI Core wrote, or its folder: network_c_info.json, network_*_report.txt"
_OR_ENGINE = (
    "or add what `sh commands.sh` wrote of a TensorRT engine, or its folder: layers.json, profile.json, times.json"
)


@dataclass(frozen=True, slots=True)
class Device:
    """What was measured in one go on one device: `files` by name as seen from the bundle, with their SHA-256;
    `environment` in words; `emulated` says that the processor was not a real one; `agreement` with the goldens of the
    bundle: the artifact's with the graph's own arithmetic, the float model's with the machine that compiled;
    `arithmetic` None where the runtime runs the artifact with optimizations only; `fidelity` what of the float model
    outputs keep; `operators` that really ran, by
    build; `kernels` are (operator, nodes predicted, nodes that ran); `scores` by build, of the `samples` there, None
    where nothing was to be scored."""

    recipe: str
    target: str
    files: Mapping[str, str]
    environment: Mapping[str, str]
    emulated: bool
    samples: int
    agreement: tuple[Agreement, ...]
    arithmetic: Arithmetic | None
    fidelity: tuple[Kept, ...]
    operators: Mapping[str, Mapping[str, int]]
    kernels: tuple[tuple[str, int, int], ...]
    scores: Mapping[str, Mapping[str, float]] | None
    profile: Profile

    @property
    def name(self) -> str:
        """What people call it: the board, else the processor; where it was emulated, by what."""
        return self.profile.measured_on


def _outside(name: str) -> str:
    inside = re.fullmatch(rf"({re.escape(_ABOVE)})?{FILE_NAME}(/{FILE_NAME})*", name)
    return "" if inside else "expected the name of a file in the folder of its target"


@dataclass(frozen=True, slots=True)
class _StoredProfile:
    runs: Annotated[int, Whole(1)]
    warmup: Count
    batch: Annotated[int, Whole(1)]
    threads: Count
    builds: Annotated[tuple[BuildProfile, ...], Keyed("build")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored(Told):
    """A device's document. Names of files become paths: none may leave the folder of its target."""

    recipe: Name
    target: FileName
    files: Annotated[Mapping[Annotated[str, Text(1000), Check(_outside)], Sha256], Many(most=1000)]
    scores: Mapping[Name, Annotated[Mapping[Name, Figure], Many(most=1000)]] | None
    profile: _StoredProfile


# ---- reading and writing ---------------------------------------------------------------------------------------------


def read(path: Path) -> Device:
    """What `python bench.py` wrote. Raises QdslError: measurements-missing where there is no file, measurements-file
    where it is something else, cut off, of another format, or holds anything that does not fit."""
    return opened(path, parsed, (*_CURE, _OR_ENGINE, _OR_ST))


def parsed(text: str) -> Device:
    """The same from the file's text. Raises UnfitError for what is not JSON and what does not fit."""
    return checked(json_data(text))


def checked(content: Any) -> Device:
    """The same from plain data. Raises UnfitError."""
    told = decode(_Stored, _unversioned(content), "device")
    try:
        return _device(told)
    except UnfitError as error:
        raise error.under("device") from None


def _device(told: _Stored) -> Device:
    builds = FLOAT, told.target
    common = told.common(told.target, *builds)
    if told.scores is not None:
        require_builds(told.scores, builds, "scores")
    return Device(
        recipe=told.recipe,
        target=told.target,
        files=told.files,
        operators={build: told.operators[build] for build in builds},
        scores=told.scores and {build: told.scores[build] for build in builds},
        profile=_profile(told),
        **common,
    )


def document(found: Device) -> str:
    """The text of a file that `read` takes: the same measurements give the same text, whoever wrote them first."""
    profile = found.profile
    goldens: dict[str, dict[str, Any]] = {build.build: {} for build in profile.builds}
    for each in found.agreement:
        goldens[each.build][each.output] = _figures_of(each)
    written = found.arithmetic
    content = {
        "format": FORMAT,
        "kind": "device",
        "recipe": found.recipe,
        "target": found.target,
        "files": found.files,
        "environment": found.environment,
        "emulated": found.emulated,
        "samples": found.samples,
        "goldens": goldens,
        "arithmetic": None
        if written is None
        else {"samples": written.samples, "outputs": {each.output: _figures_of(each) for each in written.outputs}},
        "fidelity": {each.output: {"planned_db": each.planned_db, "here_db": each.here_db} for each in found.fidelity},
        "operators": found.operators,
        "kernels": {name: [predicted, real] for name, predicted, real in found.kernels},
        "scores": found.scores,
        "profile": {
            "runs": profile.runs,
            "warmup": profile.warmup,
            "batch": profile.batch,
            "threads": profile.threads,
            "builds": {build.build: {name: getattr(build, name) for name in COST} for build in profile.builds},
        },
    }
    return json.dumps(json_ready(content), indent=1, allow_nan=False) + "\n"


def _figures_of(found: Agreement) -> dict[str, float | None]:
    return {"sqnr_db": found.sqnr_db, "max_error": found.max_error}


def _unversioned(content: Any) -> dict[str, Any]:
    """The document without its kind and format. Raises UnfitError for another kind or format."""
    expected = "expected what `python bench.py` wrote on a device"
    if not isinstance(content, dict):
        raise UnfitError(expected)
    if "kind" not in content and "builds" in content:
        raise UnfitError(f"it is a build's own document, which `qdsl compile` wrote: {expected}")
    if content.get("kind") != "device":
        kind = f"it is of kind {str(content['kind'])[:20]!r}" if "kind" in content else "it has no kind"
        raise UnfitError(f"{kind}: {expected}")
    plain = require_version(content, "format", FORMAT)
    del plain["kind"]
    return plain


def _profile(told: _Stored) -> Profile:
    found = told.profile
    costs = {each.build: each for each in found.builds}
    builds = FLOAT, told.target
    require_builds(costs, builds, "profile.builds")
    for build in builds:
        if len(costs[build].seconds) != found.runs:
            wanted = f"expected {found.runs} values, found {len(costs[build].seconds)}"
            raise UnfitError(wanted, f".profile.builds.{build}.seconds")
    known = (told.environment.get(word, "").strip() for word in ("board", "processor"))
    name = next((name for name in known if name), "an unknown device")
    return Profile(
        target=told.target,
        batch=found.batch,
        threads=found.threads,
        warmup=found.warmup,
        builds=tuple(costs[build] for build in builds),
        environment=dict(told.environment),
        measured_on=f"{name}, {emulated_words(told.environment)}" if told.emulated else name,
    )


# ---- beside a build --------------------------------------------------------------------------------------------------


def take_in(directory: Path, build: Measurements, path: Path) -> tuple[str, str]:
    """The name in the build's folder, and the text, under which the measurements in `path` are kept. Raises QdslError:
    what `read` raises, and measurements-other where they were not made with the files of this build."""
    found = read(path)
    wrong = _foreign(build, found) or _bundle_differs(directory, found)
    if wrong:
        headline = f"`{path}` was not measured of this build: {wrong}"
        raise QdslError([Diagnostic("measurements-other", headline, help=_CURE)])
    text = document(found)
    return f"{FOLDER}/{_file_name(found, text)}", text


def kept(directory: Path, build: Measurements) -> tuple[tuple[Device, ...], tuple[Diagnostic, ...]]:
    """What devices measured of the artifacts that are there, by name of the file. A file that speaks of another
    artifact, or cannot be read, is left out: a warning says so, and another that an emulated device decides nothing."""
    found: list[Device] = []
    left_out = []
    for path in sorted((directory / FOLDER).glob("*.json")):
        try:
            device = read(path)
            wrong = _foreign(build, device)
        except QdslError as error:
            wrong = error.diagnostics[0].label or error.diagnostics[0].headline
        if wrong:
            headline = f"`{FOLDER}/{path.name}` is left out: {wrong}"
            left_out.append(Diagnostic("device-left-out", headline, severity=Severity.WARNING))
        elif device not in found:
            found.append(device)
            left_out += [_only_emulated(device)] if device.emulated else []
    return tuple(found), tuple(left_out)


def _only_emulated(found: Device) -> Diagnostic:
    headline = f"{found.name[:200]}: what it took there decides no budget"
    return Diagnostic("device-emulated", headline, severity=Severity.WARNING)


def _file_name(found: Device, text: str) -> str:
    """Target, device, and the start of the content's SHA-256: content that is there already gets the same name."""
    slug = re.sub(r"[^a-z0-9]+", "-", f"{found.target} {found.name}".lower()).strip("-")[:_SLUG].rstrip("-")
    return f"{slug or 'device'}-{hashlib.sha256(text.encode('ascii')).hexdigest()[:_DIGITS]}.json"


def _foreign(build: Measurements, found: Device) -> str:
    """Why it was measured of something else than this build's artifact, in words; "" where it was not."""
    if found.recipe != build.recipe:
        return f"it is of recipe `{found.recipe[:80]}`, not of `{build.recipe[:80]}`"
    facts = next((each for each in build.builds if each.target == found.target), None)
    if facts is None:
        return f"the build has no target `{found.target[:80]}`"
    return _in_place_of(_other_artifacts(facts, found))


def _in_place_of(names: Sequence[str]) -> str:
    return f"it was made with other files in place of {named(names)}" if names else ""


def _other_artifacts(facts: BuildFacts, found: Device) -> list[str]:
    """The artifact's files that were not those of this build, or that nothing is said of where it is the model."""
    ran = {name.removeprefix(_ABOVE): digest for name, digest in found.files.items() if name.startswith(_ABOVE)}
    model = next(iter(facts.files), "")
    names = [name for name, digest in ran.items() if facts.files.get(name) != digest]
    names += [model] if model not in ran else []
    return [f"{facts.target}/{name}" for name in names]


def _bundle_differs(directory: Path, found: Device) -> str:
    """The same for the files beside the artifact, as far as they are still there."""
    names = {f"{found.target}/{bundle.FOLDER}/{name}": name for name in found.files if not name.startswith(_ABOVE)}
    other = [path for path, name in names.items() if digest_of(directory / path) not in (None, found.files[name])]
    return _in_place_of(other)
