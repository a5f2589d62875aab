"""What a report shows: a build's files, read once and checked, and views over one or several of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from qdsl.data.image import picture_size
from qdsl.diag import Diagnostic, QdslError
from qdsl.harness.allocations import read_allocation
from qdsl.harness.devices import Device
from qdsl.harness.engines import Engine
from qdsl.harness.measurements import (
    COSTS,
    COUNTED,
    FILE,
    LINKED,
    PICTURES,
    RECIPE,
    BudgetFacts,
    BuildFacts,
    Measurements,
)
from qdsl.harness.pictures import LONGEST
from qdsl.harness.profiles import Profile
from qdsl.harness.reading import read, refuse_other, require_same
from qdsl.harness.results import FLOAT, BuildScores, Evaluation, Key
from qdsl.harness.rounding import read_rounding
from qdsl.harness.sensitivity import read_sensitivity
from qdsl.harness.st_reports import StReport
from qdsl.spec.allocation import Allocation
from qdsl.spec.decode import decode, json_data
from qdsl.spec.plan import Plan
from qdsl.spec.plan_json import from_data, plan_hash
from qdsl.spec.rounding import Rounding
from qdsl.spec.sensitivity import Sensitivity

_LARGEST_PLAN = 1 << 28
_STANDING = ("activation_bits", "bops", "integer_share", "macs", "size")  # known without a measurement
_LARGEST_PICTURE = 1 << 20
_LARGEST_RECIPE = 1 << 21


@dataclass(frozen=True, slots=True)
class Picture:
    """A small JPEG file, and its size in pixels."""

    content: bytes
    height: int
    width: int


@dataclass(frozen=True, slots=True)
class Build:
    """One build's folder: what was measured, the plan of each target (none where there is no plan.json), the pictures
    that are there, what devices measured of its artifacts, the recipe's text ("": not kept), engines that were built of
    an artifact elsewhere, what ST's tool said of one, and by target what quantizing one layer costs
    and which types of weights and of layers were chosen from what."""

    found: Measurements
    plans: Mapping[str, Plan]
    pictures: Mapping[str, Picture]
    devices: tuple[Device, ...] = ()
    recipe: str = ""
    engines: tuple[Engine, ...] = ()
    st_reports: tuple[StReport, ...] = ()
    sensitivities: Mapping[str, Sensitivity] = field(default_factory=dict)
    roundings: Mapping[str, Rounding] = field(default_factory=dict)
    allocations: Mapping[str, Allocation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Method:
    """One artifact and what a page calls it; `style` counts from 1, the float model being 0."""

    build: Build
    facts: BuildFacts
    label: str
    style: int

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """What this artifact was found to cost, beside the float model: first by what decides its budgets."""
        found = [each for each in self.build.found.profiles if each.target == self.facts.target]
        return tuple(sorted(found, key=lambda each: not each.decides))

    @property
    def profile(self) -> Profile | None:
        """The one that decides."""
        return next((each for each in self.profiles if each.decides), None)

    def called(self, where: str = "") -> list[tuple[str, Profile]]:
        """Its profiles by what a table calls them; `where` follows the artifact's name."""
        name = f"{self.label}{where}"
        return [
            (name if each.decides else f"{name} by {each.measured_on} ({each.aside})", each) for each in self.profiles
        ]

    @property
    def devices(self) -> tuple[Device, ...]:
        """What devices measured of this artifact."""
        return tuple(found for found in self.build.devices if found.target == self.facts.target)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """Engines of this artifact."""
        return tuple(found for found in self.build.engines if found.target == self.facts.target)

    @property
    def st_reports(self) -> tuple[StReport, ...]:
        """What ST's tool said of it."""
        return tuple(found for found in self.build.st_reports if found.target == self.facts.target)

    @property
    def decisive(self) -> Profile | None:
        """The profile that decides its budgets: where the target names a device, that of the slowest one measured."""
        elsewhere = [each.profile for each in self.devices if self.facts.device and not each.emulated]
        return slowest(elsewhere) if elsewhere else self.profile

    @property
    def plan(self) -> Plan | None:
        return self.build.plans.get(self.facts.target)


@dataclass(frozen=True, slots=True)
class Layer:
    """One node of the float model: what the plan says of it, and how its output compares with the float model's (None:
    not measured). `why` is the rule, with its line in the recipe."""

    node: str
    op: str
    runs: str
    note: str
    because: str
    why: str
    macs: int | None
    sqnr_db: float | None
    cosine: float | None
    error: float | None


def load(directory: Path) -> Build:
    """The files of one build. Raises QdslError: measurements-missing, measurements-file, measurements-other, plan-file,
    image-*."""
    found = read(directory / FILE)
    require_same(directory, found)
    found = replace(found, builds=tuple(_decided(found, build) for build in found.builds))
    pictures = {name: _picture(directory, name) for name in found.pictures}
    there = {name: picture for name, picture in pictures.items() if picture is not None}
    told = {each.target: read_sensitivity(directory, each.target) for each in found.builds}
    sensitivities = {target: each for target, each in told.items() if each is not None}
    gained = {each.target: read_rounding(directory, each.target) for each in found.builds}
    plans = plans_of(directory, found)
    tried = {target: read_allocation(directory, plan) for target, plan in plans.items()}
    return Build(
        found,
        plans,
        there,
        recipe=_recipe(directory),
        sensitivities=sensitivities,
        roundings={target: each for target, each in gained.items() if each is not None},
        allocations={target: each for target, each in tried.items() if each is not None},
    )


def _recipe(directory: Path) -> str:
    """What `compile` kept of the recipe; "" where it is gone, or something else."""
    path = directory / RECIPE
    if not path.is_file() or path.stat().st_size > _LARGEST_RECIPE:
        return ""
    return path.read_bytes().decode("utf-8", errors="replace")


def _decided(found: Measurements, build: BuildFacts) -> BuildFacts:
    """The build with every budget undecided whose figure is no longer there: a verdict is worth its measurement."""
    return replace(build, budgets=tuple(b if _measured(found, build, b) else _open(b) for b in build.budgets))


def _measured(found: Measurements, build: BuildFacts, budget: BudgetFacts) -> bool:
    """Whether the figure that a budget speaks of is there."""
    if budget.value is None or budget.metric in _STANDING:
        return True
    if budget.metric in LINKED:
        return build.emulated is not None or build.memory is not None
    if budget.metric == COUNTED:
        return build.emulated is not None
    if budget.form == "holds":
        return build.engine is not None
    if any(each.target == build.target and each.decides for each in found.profiles) and budget.metric in COSTS:
        return True
    key = key_of(budget)
    own = [each for each in found.evaluations if each.statement == budget.statement and not each.condition]
    scores = [scores_of(each, build.target) for each in own]
    return any(each is not None and key in each.scores for each in scores)


def _open(budget: BudgetFacts) -> BudgetFacts:
    return replace(budget, verdict="undecided", value=None, low=None, high=None, source="")


def plans_of(directory: Path, found: Measurements) -> dict[str, Plan]:
    """The plan of each target by `plan.json` in a build's folder; none where that is not there. Raises QdslError
    plan-file for what cannot be read, and measurements-other for a plan of other measurements."""
    path = directory / "plan.json"
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_PLAN:
        _refuse_plan(f"it is larger than {_LARGEST_PLAN >> 20} MiB")
    try:
        content = decode(dict[str, Any], json_data(path.read_bytes().decode("utf-8")))
    except ValueError as error:
        _refuse_plan(" ".join(str(error).split())[:200])
    wanted = {build.target: build.plan_sha256 for build in found.builds if build.target in content}
    plans = {target: from_data(content[target]) for target in wanted}
    if any(plan_hash(plan) != wanted[target] for target, plan in plans.items()):
        refuse_other(directory, [path.name])
    return plans


def _refuse_plan(why: str) -> NoReturn:
    help = ("make it anew: `qdsl compile`",)
    raise QdslError([Diagnostic("plan-file", "plan.json is not a plan that can be read", label=why, help=help)])


def _picture(directory: Path, name: str) -> Picture | None:
    """A picture that is there. Its bytes go into the page: none but a small JPEG may."""
    path = directory / PICTURES / name
    if not path.is_file():
        return None
    height, width = picture_size(path, f"{PICTURES}/{name}", None)
    content = path.read_bytes() if path.stat().st_size <= _LARGEST_PICTURE else b""
    if not content.startswith(b"\xff\xd8\xff") or max(height, width) > LONGEST:
        refuse_other(directory, [f"{PICTURES}/{name}"])
    return Picture(content, height, width)


def methods(builds: Sequence[Build]) -> tuple[Method, ...]:
    """Every artifact of the builds, named as briefly as tells them apart: by target and mode within one build, else by
    recipe. Artifacts of one mode and target in several models share a style, unless a model has two of them."""
    pairs = [(build, facts) for build in builds for facts in build.found.builds]
    names = [_named(build, facts, alone=len(builds) == 1) for build, facts in pairs]
    kinds = [(model_of(build), facts.mode, facts.target) for build, facts in pairs]
    shared = len(set(kinds)) == len(kinds)
    order: dict[object, int] = {}
    styles = []
    for at, kind in enumerate(kinds):
        styles.append(order.setdefault(kind[1:] if shared else at, len(order) + 1))
    rows = zip(pairs, distinct(names), styles, strict=True)
    return tuple(Method(build, facts, name, style) for (build, facts), name, style in rows)


def _named(build: Build, facts: BuildFacts, *, alone: bool) -> str:
    if alone:
        return f"{facts.target} {facts.mode}"
    several = f" {facts.target}" if len(build.found.builds) > 1 else ""
    return f"{build.found.recipe}{several}"


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where one stands more than once."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(f"{name} ({seen[name]})" if names.count(name) > 1 else name)
    return found


def slowest(profiles: Sequence[Profile]) -> Profile:
    """The one in which the artifact's median latency is largest."""
    return max(profiles, key=lambda found: found.of(found.target).latency())


def model_of(build: Build) -> tuple[str, ...]:
    """What makes two builds speak of one float model: the hashes of its files."""
    return tuple(sorted(build.found.model.files.values()))


def model_names(builds: Iterable[Build]) -> dict[tuple[str, ...], str]:
    """A name for each float model, told apart by hash where two have one name."""
    names = {model_of(build): build.found.model.name for build in builds}
    taken = list(names.values())
    return {key: name if taken.count(name) == 1 else f"{name} {''.join(key)[:8]}" for key, name in names.items()}


def scores_of(evaluation: Evaluation, name: str) -> BuildScores | None:
    """The figures of one build, where it was evaluated."""
    return next((found for found in evaluation.builds if found.build == name), None)


def as_they_are(build: Build) -> tuple[Evaluation, ...]:
    """The evaluations on pictures that were not changed."""
    return tuple(found for found in build.found.evaluations if not found.condition)


def key_of(budget: BudgetFacts) -> Key:
    """The figure of an evaluation that a budget bounds."""
    return Key(budget.metric, *budget.qualifiers[:1])


def bounds_of(evaluation: Evaluation, facts: BuildFacts) -> tuple[BudgetFacts, ...]:
    """The budgets that an evaluation decides."""
    return tuple(budget for budget in facts.budgets if budget.statement == evaluation.statement)


def headline(evaluation: Evaluation, facts: BuildFacts) -> Key | None:
    """The figure that a budget names, else the first that the recipe asks for."""
    known = [key for key in evaluation.asked if key in evaluation.of(FLOAT).scores]
    bounded = [key for key in known if any(key == key_of(budget) for budget in bounds_of(evaluation, facts))]
    return next(iter((*bounded, *known)), None)


def layers(method: Method) -> tuple[Layer, ...]:
    """The nodes of the plan in graph order, each with the worst of its outputs that were compared; without a plan, what
    was compared."""
    measured: dict[str, tuple[float | None, float | None, float | None]] = {}
    for each in (*method.facts.layers, *method.facts.outputs):
        known = measured.get(each.node)
        worse = known is None or (each.sqnr_db is not None and (known[0] is None or each.sqnr_db < known[0]))
        if worse:
            measured[each.node] = (each.sqnr_db, each.cosine, each.largest_error)
    if method.plan is None:
        return tuple(Layer(node, "", "", "", "", "", None, *found) for node, found in measured.items())
    none: tuple[float | None, float | None, float | None] = (None, None, None)
    return tuple(
        Layer(
            node.node,
            node.op,
            "widened" if node.prediction.float_products else node.prediction.runs,
            node.note,
            node.prediction.because,
            node.origin.told(method.plan.recipe),
            node.macs,
            *measured.get(node.node, none),
        )
        for node in method.plan.nodes
    )
