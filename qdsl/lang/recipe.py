"""A recipe after merging and name checking: plain typed data that the plan reads. No model has been seen yet.

Every piece keeps the span of the text it came from, so that each action of a plan can name its line. `level` tells
which layer of the cascade a piece belongs to: "recipe", "extends" (a base file) or "target" (inside a target block).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from qdsl.diag import Span
from qdsl.lang.selectors import Picks
from qdsl.spec import DType, Granularity, Quantity


@dataclass(frozen=True, slots=True)
class ModelRef:
    """`model FORMAT LOCATION`: format is onnx, torch, tensorflow or tflite; for files, `location` is resolved
    against the recipe that wrote it."""

    format: str
    location: str
    written: str
    span: Span


@dataclass(frozen=True, slots=True)
class InputStep:
    """One preprocessing step of an `input` block, in the order written.

    name is one of resize, crop, rescale, mean, std, color, layout, shape. `args` hold numbers, words or lists:
    resize -> (height, width, "letterbox" | "stretch" | "crop"), and "top_left" after "letterbox" where the padding
    stands below and to the right alone; crop -> (height, width); rescale -> (factor,);
    mean/std -> one float per channel; color -> ("rgb" | "bgr" | "gray",); layout -> ("nchw" | "nhwc",);
    shape -> ints.
    """

    name: str
    args: tuple[int | float | str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class InputSpec:
    """`input "name" { ... }`; name None means the model's only input."""

    name: str | None
    steps: tuple[InputStep, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class DataSpec:
    """`data NAME from SOURCE LOCATION { ... }`. Paths are resolved against the file that wrote them.

    `take` is (count, seed); seed None means the first `count` in path order. `oversample` and `ratio` are
    (class name, number) pairs; a ratio is a fraction 0..1. `arrays` are (array in the file, model input) pairs.
    `numbers` are those that the model gives `classes`, none where it knows the same ones in the same order.
    `every` is one frame in so many, `columns` are those of a table that hold files and labels.
    `outside` are folders beside the dataset's own that it may list files in, `outside_paths` where they are.
    `places` says where each setting stands, and where the path does (as "from").
    """

    name: str
    source: str
    paths: tuple[str, ...]
    span: Span
    written: tuple[str, ...] = ()
    split: str | None = None
    take: tuple[int, int | None] | None = None
    oversample: tuple[tuple[str, int | float], ...] = ()
    ratio: tuple[tuple[str, float], ...] = ()
    balance: bool = False
    classes: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    ignore: int | None = None
    arrays: tuple[tuple[str, str], ...] = ()
    label: str | None = None
    every: int | None = None
    columns: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    outside_paths: tuple[str, ...] = ()
    places: tuple[tuple[str, Span], ...] = field(default=(), compare=False)

    def at(self, *settings: str) -> Span:
        """The place of the first of `settings` that is written; of the whole statement where none is."""
        known = dict(self.places)
        return next((known[name] for name in settings if name in known), self.span)


@dataclass(frozen=True, slots=True)
class TypeRequest:
    """What a recipe says of a number type; None means "not said", which the target's table fills in.

    `weights int8 per_channel` -> dtype int8, bits None; `8 bit` -> dtype None, bits 8.
    """

    span: Span
    dtype: DType | None = None
    bits: int | None = None
    symmetric: bool | None = None
    granularity: Granularity | None = None
    block: int | None = None
    reduce_range: bool | None = None
    storage_only: bool | None = None
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class Calibrate:
    """`calibrate METHOD [P] [symmetric] [on DATA]`: method is minmax, mean_minmax, entropy, percentile,
    mse or auto.

    `calibrate from cache "FILE"`: method is "cache", `cache` the file as written, `cache_path` resolved against the
    recipe that wrote it."""

    method: str
    span: Span
    percentile: float | None = None
    symmetric: bool = False
    data: str | None = None
    level: str = "recipe"
    cache: str | None = None
    cache_path: str | None = None


@dataclass(frozen=True, slots=True)
class FixedRange:
    """`range [lo, hi]`: a range by hand, in the tensor's real values."""

    low: float
    high: float
    span: Span
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a `quantize` or `layers` block sets; None means the block does not say."""

    weights: TypeRequest | None = None
    activations: TypeRequest | None = None
    calibrate: Calibrate | None = None
    range: FixedRange | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """`quantize static|dynamic|float { ... }`: the start of the cascade."""

    kind: str
    settings: Settings
    span: Span
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class LayersRule:
    """`layers X { ... }`: settings for the nodes that X picks."""

    picks: Picks
    settings: Settings
    span: Span
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class KeepRule:
    """`keep X in float32`."""

    picks: Picks
    dtype: DType
    span: Span
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class Port:
    """`inputs of X`, `skip of residual_add`: name is inputs, outputs or skip."""

    name: str
    picks: Picks
    span: Span


@dataclass(frozen=True, slots=True)
class Edge:
    """`A -> B [expect N]`: the connections from a node of A to a node of B."""

    source: Picks
    target: Picks
    expect: int | None
    span: Span


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """One line of a `place` block. action is quantize, leave or share; where is a port, an edge, or picks
    (tensors for quantize and leave; nodes or tensors for share)."""

    action: str
    where: Port | Edge | Picks
    span: Span
    level: str = "recipe"


Rule = LayersRule | KeepRule | PlaceRule


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as written: `map50`, `f1 "crack"`, `latency p50`, `qdq survives`."""

    name: str
    qualifiers: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Require:
    """`require METRIC [drop|ratio|speedup] <= QUANTITY`, or a bare condition (`require qdq survives`)."""

    metric: Metric
    form: str  # "value", "drop", "ratio", "speedup" or "holds"
    comparison: str | None
    bound: Quantity | None
    span: Span
    level: str = "recipe"


@dataclass(frozen=True, slots=True)
class Profile:
    """`profile METRICS { ... }`: what is measured on the machine, and how."""

    metrics: tuple[Metric, ...]
    settings: tuple[tuple[str, int | float | str], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Corrupt:
    """`corrupt { .. }`: the same evaluation on changed pictures, each kind at each severity (1 to 5)."""

    kinds: tuple[str, ...]
    severities: tuple[int, ...]
    span: Span


EvaluateValue = int | float | str | tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class Evaluate:
    """`evaluate TASK on DATA { ... }`. `decode python "x"` is ("decode", "python") and ("python", "x"); `places` says
    where each setting stands."""

    task: str
    data: str
    span: Span
    output: tuple[str, ...] = ()
    settings: tuple[tuple[str, EvaluateValue], ...] = ()
    measure: tuple[Metric, ...] = ()
    profile: Profile | None = None
    requires: tuple[Require, ...] = ()
    corrupt: Corrupt | None = None
    places: tuple[tuple[str, Span], ...] = field(default=(), compare=False)

    def at(self, *settings: str) -> Span:
        """The place of the first of `settings` that is written; of the whole statement where none is."""
        known = dict(self.places)
        return next((known[name] for name in settings if name in known), self.span)

    @property
    def words(self) -> str:
        """What is measured: task, data, outputs and settings. Statements with the same words measure the same."""
        outputs = [f'output "{name}"' for name in self.output]
        told = [*outputs, *(f"{name} {list(v) if isinstance(v, tuple) else v}" for name, v in self.settings)]
        return f"{self.task} on {self.data}{': ' if told else ''}{', '.join(told)}"


@dataclass(frozen=True, slots=True)
class Allow:
    """`allow CODE on X because "..."`."""

    code: str
    picks: Picks
    because: str
    span: Span


@dataclass(frozen=True, slots=True)
class UsePass:
    """`use "./file.rule" before|after STAGE`."""

    path: str
    written: str
    order: str
    stage: str
    span: Span


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """`sensitivity METHOD on DATA { take N; trials N; epsilon F }` of an `allocate` block."""

    method: str
    data: str
    settings: tuple[tuple[str, int | float | str], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Pin:
    """`pin X to TYPE` of an `allocate` block: a type by name, or a width."""

    picks: Picks
    request: TypeRequest
    span: Span


@dataclass(frozen=True, slots=True)
class Limit:
    """`METRIC <= QUANTITY [on DATA]` of `minimize .. under`: a metric of a task is held on that data."""

    require: Require
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Allocate:
    """`allocate weights|activations|layers from [...] { ... }`. `header` is its first line. `evaluations` None: not
    said."""

    what: str
    choices: tuple[TypeRequest, ...]
    span: Span
    header: Span
    sensitivity: Sensitivity | None = None
    minimize: str | None = None
    limits: tuple[Limit, ...] = ()
    pins: tuple[Pin, ...] = ()
    groups: tuple[Picks, ...] = ()
    evaluations: int | None = None


@dataclass(frozen=True, slots=True)
class Train:
    """`train METHOD [on DATA] { ... }`; settings as (name, words as written)."""

    method: str
    data: str | None
    settings: tuple[tuple[str, tuple[int | float | str, ...]], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Tune:
    """`tune GOAL [on DATA] { ... }`: choose among a target's alternatives by measurement. None: not said."""

    goal: str
    span: Span
    data: str | None = None
    trials: int | None = None
    blocks: int | None = None
    threads: int | None = None
    requires: tuple[Require, ...] = ()


@dataclass(frozen=True, slots=True)
class Improve:
    """`improve { ... }`: steps without training, as (name, words as written)."""

    steps: tuple[tuple[str, tuple[int | float | str, ...]], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Target:
    """`target NAME { ... }`: settings and statements that hold for this target only. `places` says where each setting
    stands that the block writes itself."""

    name: str
    span: Span
    device: str | None = None
    version: str | None = None
    threads: int | None = None  # None: auto
    io: DType | None = None
    optimize: str = "speed"
    rounding: str = "ort"
    kernels: str = "own"
    high_precision: DType | None = None
    cpus: tuple[str, ...] = ()  # (): any
    exact: str = "weights"
    mode: Mode | None = None
    rules: tuple[Rule, ...] = ()
    requires: tuple[Require, ...] = ()
    profile: Profile | None = None
    allows: tuple[Allow, ...] = ()
    uses: tuple[UsePass, ...] = ()
    places: tuple[tuple[str, Span], ...] = ()

    def place(self, word: str) -> Span:
        """Where the setting `word` stands; the block itself where it does not write one."""
        return dict(self.places).get(word, self.span)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The whole recipe. `sources` maps every file read (as named in spans) to its text; `model`, `mode` and `targets`
    may be missing in a base that is only extended (`require_complete` in `qdsl.lang` says so before a plan is made)."""

    name: str
    path: str
    sources: dict[str, str] = field(hash=False)
    span: Span
    model: ModelRef | None = None
    inputs: tuple[InputSpec, ...] = ()
    data: tuple[DataSpec, ...] = ()
    mode: Mode | None = None
    rules: tuple[Rule, ...] = ()
    selects: tuple[tuple[str, Picks], ...] = ()
    allocate: Allocate | None = None
    improve: Improve | None = None
    train: Train | None = None
    tune: Tune | None = None
    targets: tuple[Target, ...] = ()
    evaluates: tuple[Evaluate, ...] = ()
    allows: tuple[Allow, ...] = ()
    uses: tuple[UsePass, ...] = ()
    params: tuple[tuple[str, str], ...] = ()
    choices: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def dataset(self, name: str) -> DataSpec:
        """The dataset called `name`; KeyError when there is none (name checking has made sure there is)."""
        return {spec.name: spec for spec in self.data}[name]

    def caches(self) -> tuple[Calibrate, ...]:
        """Every `calibrate from cache`, in `quantize`, `layers` and targets."""
        modes = (self.mode, *(target.mode for target in self.targets))
        rules = (*self.rules, *(rule for target in self.targets for rule in target.rules))
        settings = [mode.settings for mode in modes if mode is not None]
        settings += [rule.settings for rule in rules if isinstance(rule, LayersRule)]
        said = (each.calibrate for each in settings if each.calibrate is not None)
        return tuple(each for each in said if each.cache_path is not None)
