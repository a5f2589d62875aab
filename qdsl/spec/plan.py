"""The plan: every decision as data. No weights, sorted, versioned, hashable; each action names its recipe line.

A plan speaks of one recipe, one model (in canonical form) and one target. What only data can decide (ranges) is not in
it: `compile` measures the tensors whose `observe` is set and hands the ranges to the rewrite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from qdsl.spec import UNGUARDED, Guard, Scheme

# Goes up with every change of what a plan holds (`tests/test_plan_text.py` keeps watch).
PLAN_VERSION = 9
# The mode of `quantize none`: the file is the artifact.
AS_IT_IS = "none"
# The methods that give a range without looking at data: by hand, and from a calibration cache.
FIXED, CACHED = "fixed", "cache"
# The method that tries others, and those, each with the P of a percentile: of those that do as well the first is taken,
# so that the widest range comes first.
AUTO = "auto"
TRIED: tuple[tuple[str, float | None], ...] = (
    ("minmax", None),
    ("percentile", 99.999),
    ("percentile", 99.99),
    ("mse", None),
    ("entropy", None),
    ("percentile", 99.9),
)
# Kernels that read integer weights and multiply floats.
WIDENING = frozenset({"MatMulNBits", "WeightOnlyGemm"})
# How the name of a kernel ends that multiplies float8.
FLOAT8_KERNEL = "(float8)"


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Why: the words of the rule ("quantize static", "keep decode") and its place. `file` is relative to the recipe's
    directory and `line` counts from 1; a default or a row of a target's table has file "" and line 0 and names the row
    in `rule` ("ort_cpu.toml, row conv")."""

    rule: str
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        return f"{self.rule}, line {self.line}" if self.line else self.rule

    def place(self, recipe: str) -> str:
        """`line 24` of the recipe called `recipe`, `base.q:24` of a file that it extends; "" for what no line says."""
        own = self.file in ("", f"{recipe}.q")
        return "" if not self.line else f"line {self.line}" if own else f"{self.file}:{self.line}"

    def told(self, recipe: str) -> str:
        """The rule and its place, for readers of the recipe called `recipe`."""
        return f"{self.rule}, {self.place(recipe)}" if self.line else self.rule


@dataclass(frozen=True, slots=True, order=True)
class Reader:
    """One place that reads the dequantized value: a node's input port, or a graph output (node "", port -1)."""

    node: str
    port: int


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a tensor's range is found. method: minmax, mean_minmax, entropy, percentile, mse, auto, fixed or cache
    (then low and high hold; `cache` names the file) or dynamic (at run time)."""

    method: str
    data: str | None = None
    percentile: float | None = None
    symmetric: bool = False
    low: float | None = None
    high: float | None = None
    origin: Origin = Origin("default")
    cache: str | None = None

    @property
    def measured(self) -> bool:
        """Whether data decides it, before anything runs."""
        return self.method not in (FIXED, CACHED, "dynamic")

    @property
    def words(self) -> str:
        """The method as a recipe writes it: "percentile 99.9 symmetric"."""
        if self.cache is not None:
            return f'from cache "{self.cache}"'
        share = "" if self.percentile is None else f" {self.percentile:.10g}"
        return f"{self.method}{share}{' symmetric' if self.symmetric else ''}"


@dataclass(frozen=True, slots=True)
class RowsRead:
    """A Softmax reads `tensor` in rows of `length` values along `axis`; `length` None where it is not known."""

    tensor: str
    axis: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Cut:
    """The readers of `tensor` do without values below `low` and above `high` (None: no such bound), and without what
    lies far below the largest value of each of `rows`. `open`: how far is known once ranges are, as of a mask that is
    added to scores. `origin` is the table's row that says so."""

    tensor: str
    low: float | None
    high: float | None
    rows: tuple[RowsRead, ...]
    open: bool
    origin: Origin


@dataclass(frozen=True)  # without slots: `read_by` keeps its set
class TensorPlan:
    """A Q/DQ pair on an activation: Q once after `tensor`, read through DQ by `readers`; other readers stay on the
    float value. Tensors with the same `group` get one scale and zero point, from the union of the ranges of those
    members with `observe` set. `origin` is the rule that chose the scheme, `placed` the one that put the pair here."""

    tensor: str
    scheme: Scheme
    readers: tuple[Reader, ...]
    group: str
    observe: bool
    calibration: Calibration
    origin: Origin
    placed: Origin = Origin("default")

    def read_by(self, node: str, port: int) -> bool:
        """Whether that port is one of the readers: quick, however many there are."""
        return Reader(node, port) in self._places

    @cached_property
    def _places(self) -> frozenset[Reader]:
        return frozenset(self.readers)


@dataclass(frozen=True, slots=True)
class WeightPlan:
    """A constant input stored as integers with a DQ before its node. `axis` is the channel axis of the stored tensor
    (None per tensor). `guard` is what its integers keep to on the CPUs that the target names. `rounded_on` names the
    dataset by which its integers are chosen (`round adaptive`); None: each is the nearest."""

    node: str
    port: int
    tensor: str
    scheme: Scheme
    axis: int | None
    origin: Origin
    guard: Guard = UNGUARDED
    rounded_on: str | None = None


@dataclass(frozen=True, slots=True)
class Widened:
    """What the guard of a weight costs: of its `channels` scales `wider` are wider than the values ask for, the median
    one of those `times` as wide."""

    node: str
    port: int
    channels: int
    wider: int
    times: float


@dataclass(frozen=True, slots=True)
class Island:
    """Nodes that stay float and hand floats to each other, between the tensors at which integers `enter` and `leave`
    them. Its Q and DQ read and write `moved` bytes a sample; where some size is not `known`, at least that."""

    nodes: tuple[str, ...]
    enter: tuple[str, ...]
    leave: tuple[str, ...]
    moved: int
    known: bool


@dataclass(frozen=True, slots=True)
class BiasPlan:
    """A bias stored as int32 with scale = input scale x weight scale (ONNX QLinearConv) and zero point 0.

    In `float_biases` of a plan it stays float. `corrected_on` names the dataset whose means of `activation` undo what
    rounded weights shift (`bias_correct`); None: it is stored as it is."""

    node: str
    port: int
    tensor: str
    activation: str
    weight_port: int
    origin: Origin
    corrected_on: str | None = None


@dataclass(frozen=True, slots=True)
class Float16Node:
    """A node that reads float16 at the ports `reads` and writes it at `writes`. Constants it reads are stored so; Casts
    stand where a neighbour has another type, one per tensor and type."""

    node: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    origin: Origin


@dataclass(frozen=True, slots=True)
class Float16Weight:
    """A constant stored as float16 and widened by a Cast before its node reads it."""

    node: str
    port: int
    tensor: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Prediction:
    """What will run: "integer", "float" (float32), "float16" (has a kernel for it, and runs in it where its neighbours
    do, too), "absorbed" (fused into a neighbour) or "moves" (copies or reshapes integers or floats as they come).
    `kernel` is the operator that the runtime executes, or several that the emitter writes in the node's place, joined
    by "+", its own last; `row` the table row; `because` why, in a few words."""

    runs: str
    kernel: str
    row: str
    because: str = ""

    @property
    def kernels(self) -> tuple[str, ...]:
        """The operators that the runtime executes for the node."""
        return tuple(filter(None, self.kernel.split("+")))

    @property
    def multiplies(self) -> str:
        """What a node that runs "integer" multiplies: "float8" where its kernel says so, else "integers"."""
        return "float8" if self.kernel.endswith(FLOAT8_KERNEL) else "integers"

    @property
    def float_products(self) -> bool:
        """Its kernel takes integer weights, but multiplies floats."""
        return self.runs == "integer" and self.kernel in WIDENING


@dataclass(frozen=True, slots=True)
class NodePlan:
    """The verdict on one node. mark: "+" quantized, "!" asked for but stays float, "=" untouched or kept. `macs` are
    its multiply-accumulates, None where they are not known."""

    node: str
    op: str
    mark: str
    note: str
    origin: Origin
    prediction: Prediction
    macs: int | None = 0

    @property
    def in_integers(self) -> bool:
        """Whether what it multiplies are integers, or float8."""
        computes = self.prediction.runs in ("integer", "absorbed") and not self.prediction.float_products
        return computes and self.mark == "+"


@dataclass(frozen=True, slots=True)
class Flag:
    """Something the plan warns of, such as boxes and scores under one scale. `code` is a diagnostic code."""

    code: str
    message: str
    nodes: tuple[str, ...]
    help: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Count:
    """How far one setting of a `layers` rule reached: `applied` nodes or tensors took it, `passed` did not."""

    origin: Origin
    setting: str
    applied: int
    passed: int


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement of the recipe that the plan carries along as data: inputs, datasets, evaluations, budgets.

    `kind` is the statement's word and `name` what it names. `settings` are (setting, value as text), in the order in
    which they act; a setting may stand twice.
    """

    kind: str
    name: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """An alternative of the target's table that a measurement chose for `nodes` (in graph order), and what showed it.
    `origin` is the `tune` statement, or the table's row where the ranges decided."""

    alternative: str
    nodes: tuple[str, ...]
    evidence: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class CacheUse:
    """A calibration cache that ranges are taken from, as seen from the recipe's folder: the release of TensorRT that
    wrote it and by which algorithm. Of its entries, `used` name a tensor that takes its range from here and `unused`
    none; `unnamed` of these have a name that TensorRT made up."""

    file: str
    sha256: str
    release: str
    algorithm: str
    used: int
    unused: int
    unnamed: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Predictions over the whole graph. Bytes are of the emitted file; `macs` counts the multiply-accumulates that are
    known, `integer_macs` those of them that are predicted to multiply integers; of `uncounted` nodes they are not
    known."""

    nodes: int
    integer_nodes: int
    kept_float: int
    refused: int
    macs: int
    integer_macs: int
    float_bytes: int
    predicted_bytes: int
    uncounted: int


@dataclass(frozen=True, slots=True)
class Plan:
    """All sequences are sorted: nodes in graph order, the rest by tensor or node name. `apart` are the
    places where a node that is kept in float reads a copy, so that a runtime does not fuse it with the pairs around.
    `cuts` are the ranges that stop where what reads them is flat, `widened` what the guards of weights cost, `islands`
    what stays float between integers, in graph order, `caches` what ranges are taken from, `float_biases` the biases
    that are moved and stay float. `paired_weights`: weights stand as floats behind a Q of their own."""

    version: int
    recipe: str
    model: str
    target: str
    mode: str
    nodes: tuple[NodePlan, ...]
    tensors: tuple[TensorPlan, ...]
    weights: tuple[WeightPlan, ...]
    biases: tuple[BiasPlan, ...]
    flags: tuple[Flag, ...]
    totals: Totals
    open: tuple[str, ...] = ()
    counts: tuple[Count, ...] = ()
    facts: tuple[Fact, ...] = ()
    choices: tuple[Choice, ...] = ()
    halves: tuple[Float16Node, ...] = ()
    half_weights: tuple[Float16Weight, ...] = ()
    apart: tuple[Reader, ...] = ()
    cuts: tuple[Cut, ...] = ()
    widened: tuple[Widened, ...] = ()
    islands: tuple[Island, ...] = ()
    caches: tuple[CacheUse, ...] = ()
    float_biases: tuple[BiasPlan, ...] = ()
    paired_weights: bool = False

    @property
    def corrections(self) -> tuple[BiasPlan, ...]:
        """The biases that `bias_correct` moves, stored as int32 or left float."""
        return tuple(bias for bias in (*self.biases, *self.float_biases) if bias.corrected_on is not None)

    @property
    def assigned(self) -> tuple[str, ...]:
        """What `allocate` gave, as lines of a recipe that would say the same."""
        return tuple(value for fact in self.facts if fact.kind == "assigned" for _, value in fact.settings)
