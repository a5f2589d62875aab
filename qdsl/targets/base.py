"""The contract of a target: what planning, emitting, verifying and measuring ask of it, whatever runs its artifacts.

A target is one room, `qdsl/targets/<name>/`, and one line in the index of `qdsl.targets`. What it does not do on this
machine it answers with `NotHere`, which never counts as a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from qdsl.diag import Diagnostic, Span
from qdsl.spec.abilities import Abilities
from qdsl.targets.results import Built, Emitted, LayerTimes, NotHere, Product, Ran, Verification

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qdsl.calibrate import Ranges
    from qdsl.capability import Capability
    from qdsl.data import Sample
    from qdsl.graph import Model
    from qdsl.graph.view import GraphView
    from qdsl.lang.recipe import InputSpec, Require
    from qdsl.lang.recipe import Target as Block
    from qdsl.predict.bounds import Interval
    from qdsl.predict.edges import Edges
    from qdsl.provenance.records import Provenance
    from qdsl.rewrite import Trace
    from qdsl.spec.plan import BiasPlan, Flag, Plan, Prediction, TensorPlan, WeightPlan

Feed = Mapping[str, Any]
Turns = tuple[list[float], list[float]]  # milliseconds per block, of one build and of the other


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that the target's software would not load. `tensors` are those at fault; `does` says what it does to them
    ("it carries a pair over to"), `given` what makes it do so, `because` how it comes to that."""

    tensors: tuple[str, ...]
    does: str
    given: str
    because: str


@dataclass(frozen=True, slots=True)
class Lack:
    """What a target cannot make of a graph, whatever is planned: `headline` says it whole, `label` in a few words what
    comes of it, `help` are the cures."""

    headline: str
    label: str
    help: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Misread:
    """What fused kernels compute otherwise than a file says: `nodes` by why, in graph order, and what cures it."""

    nodes: Mapping[str, Sequence[str]]
    cures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Deployed:
    """What times an artifact in processes of their own, here or on a device: a file that ONNX Runtime loads, and the
    session options by name that it asks for.

    `provider` is the execution provider that runs it, "" for the CPU's; `providing` are its options for the artifact,
    `floats` those for the float model beside it. `on` says then what the figures are of ("ONNX Runtime's TensorRT
    provider on NVIDIA A10"). Such an artifact is timed on this machine alone. `decides` is False where what runs is not
    what the target makes of the artifact: the figures are shown, and decide no budget."""

    model: Path
    options: Mapping[str, str] = field(default_factory=dict)
    provider: str = ""
    providing: Mapping[str, str] = field(default_factory=dict)
    floats: Mapping[str, str] = field(default_factory=dict)
    on: str = ""
    decides: bool = True


class Runtime(Protocol):
    """What a target's software makes of a graph by itself, as far as planning has to know: its habits. Nothing here
    loads that software."""

    @property
    def copy(self) -> str:
        """An operator of one input that copies, and that the software neither removes nor fuses with Q/DQ."""
        ...

    def predict(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
        ranges: Mapping[str, Interval] | None = None,
    ) -> dict[str, Prediction]:
        """What each node of the emitted graph runs as, by name in graph order: pairs merged, spread and joined as the
        software does it. `tensors` is keyed by tensor name; `ranges` are measured ones, None before there are any."""
        ...

    def predict_edges(self, view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
        """What each node of `view` runs as, by name in graph order, where `edges` say what carries integers: of a file
        that stands as it is, whoever made it. `edges` is changed: what the software does to pairs of itself is put
        in."""
        ...

    def predict_dynamic(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        capability: Capability,
    ) -> dict[str, Prediction]:
        """The same for a dynamic build. Asked only where the table has rules for one."""
        ...

    def refuses(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
    ) -> Refusal | None:
        """Why the software would not load the emitted graph; None where it does. `view.opset` is the opset emitted."""
        ...

    def lacks(self, view: GraphView, capability: Capability) -> Sequence[Lack]:
        """What no plan makes good: operators that the software is known not to have, sizes that it has to know."""
        ...

    def misreads(self, model: Model, view: GraphView, products: Iterable[Product]) -> Misread | None:
        """What the software computes otherwise than a file says for which nothing was planned; None for nothing.
        `products` are those that its kernels compute of `model`, of which `view` is the graph."""
        ...

    def flags(self, view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
        """What else the plan is to warn of, by the shapes of what is predicted to run in integers."""
        ...

    def file_bytes(
        self, plan: Plan, view: GraphView, capability: Capability, float_bytes: int, carried: int = 0
    ) -> int:
        """Bytes of the files that `plan` will be emitted as. `float_bytes` is the size of the float model in canonical
        form, `carried` that of the provenance, where its files carry one; the plan's own totals are not known yet."""
        ...

    def foresees(self, plan: Plan, view: GraphView, capability: Capability) -> Trace:
        """What the target's lowerings will do once `plan` is carried out, and what they will leave alone, and why."""
        ...


class Runner(Protocol):
    """A model ready to run."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it writes."""
        ...

    def run(self, arrays: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Its outputs by name, for the arrays of one sample. Raises QdslError artifact-refused."""
        ...


class Bench(Protocol):
    """Builds of one model, loaded as they ship, to be timed against each other where the target runs them."""

    def load(self, plan: Plan | None) -> Runner:
        """The build of `plan`, with the options that its artifact asks for; None: the float model. Raises QdslError
        artifact-refused."""
        ...

    def layers(self, plan: Plan | None, feed: Feed, runs: int) -> LayerTimes:
        """What each node takes in the build of `plan`, or in the float model, over so many runs on one input. Raises
        QdslError artifact-refused."""
        ...

    def race(self, base: Runner, other: Runner, feed: Feed, blocks: int, heard: Callable[[int], None]) -> Turns:
        """Time the two in turns on one input, a figure for each in every block; `heard` is told how many are done."""
        ...


class Reference(Protocol):
    """The software whose answers stand for those of a float model: what artifacts are held against."""

    def float_runner(
        self, model: Path, threads: int | None = None, *, as_written: bool = False, span: Span | None = None
    ) -> Runner:
        """The float model in a file, ready to run; `as_written` every node by itself, unfused. Raises QdslError
        artifact-refused, at `span`, the place in the recipe that names the model."""
        ...


class Target(Protocol):
    """What artifacts are made for. Cheap to make and to import: the heavy work is imported where it is done."""

    @property
    def name(self) -> str:
        """Its name in recipes, and of the folder of its artifacts."""
        ...

    @property
    def table(self) -> str:
        """The name of its capability table."""
        ...

    def runs_as(self, runner: Runner | None = None) -> str:
        """What answers where its own software does not ("its graph in ONNX Runtime"), in this runner of it or in one
        that is made here; "" where it does."""
        ...

    @property
    def runtime(self) -> Runtime:
        """The habits of its software."""
        ...

    def problems(self, block: Block) -> Iterable[Diagnostic]:
        """What is wrong with what a recipe's block asks of it, each at its line: errors, and warnings where it will do
        all the same. Light: `qdsl check` asks."""
        ...

    def fitted(self, table: Capability, block: Block | None) -> Capability:
        """Its table as it holds for the version and the device that a recipe's block names; `table` itself where they
        make no difference, or are wrong."""
        ...

    def opens(self, plan: Plan) -> Sequence[str]:
        """What only the device can decide of a plan, with its bounds, in words."""
        ...

    def unfit(
        self, block: Block, plan: Plan, requires: Sequence[Require], emitted: Emitted | None = None
    ) -> Iterable[Diagnostic]:
        """What the device that a recipe's block names cannot hold or reach, each at its line: of a plan, and of what
        was `emitted` of it. `requires` are the budgets that hold for the target."""
        ...

    def abilities(self) -> Abilities:
        """What this machine can do with its artifacts, and how to get the rest. Loads none of its software here."""
        ...

    def emit(
        self,
        model: Model,
        plan: Plan,
        ranges: Ranges,
        out_dir: Path,
        *,
        inputs: Iterable[InputSpec] = (),
        provenance: Provenance | None = None,
    ) -> Emitted:
        """Carry out `plan` on a copy of the canonical float `model` and write `<out_dir>/<target>/`; `inputs` are the
        recipe's, `provenance` is what the files may say of where they come from. Raises QdslError
        artifact-write, artifact-invalid, and what rewriting raises."""
        ...

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        """Move an artifact to where it belongs, on the same disk, once it is known to run; what stood there is
        replaced. Raises QdslError artifact-write."""
        ...

    def build(self, emitted: Emitted, plan: Plan) -> Built | NotHere:
        """Make of an artifact what the device runs, and time it, on this machine."""
        ...

    def verify(
        self,
        model: Model,
        emitted: Emitted,
        plan: Plan,
        samples: Iterable[Sample],
        *,
        count: int = 8,
        source: str = "",
        inner: Model | None = None,
    ) -> Verification | NotHere:
        """Run the artifact beside the canonical float `model` on the first `count` samples; `source` says whose. Its
        tensors inside, where they are compared, are those of `inner` (of `model` itself where that is None).
        Raises QdslError artifact-refused, FloatModelError."""
        ...

    def kernels(self, model: Path | bytes, span: Span | None = None) -> Mapping[str, Ran] | NotHere:
        """What runs of a file that nothing was planned for, by node. Raises QdslError artifact-refused, at `span`, the
        place in the recipe that names the model."""
        ...

    def products(self, model: Path | bytes, family: str, span: Span | None = None) -> Iterator[Product] | NotHere:
        """What meets what in the integer products of such a file on CPUs of a `family` of the table. Raises as
        `kernels` does."""
        ...

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> Runner | NotHere:
        """The artifact, ready to run on this machine; `as_written` as its graph says, without what the software would
        make of it. Raises QdslError artifact-refused."""
        ...

    def bench(self, model: Model, ranges: Ranges, folder: Path, threads: int) -> Bench | NotHere:
        """What times builds of the canonical float `model` against each other, on `threads` threads; `folder` is where
        builds may lie while they are loaded."""
        ...

    def deployed(self, emitted: Emitted) -> Sequence[Deployed | NotHere]:
        """What `profile` and the bundle run of an artifact: each way in which it is timed, of which at most one decides
        budgets, and why another is not there. The bundle is of the one that needs no provider."""
        ...
