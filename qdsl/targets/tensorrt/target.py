"""TensorRT as a target: a directory that builds, profiles and verifies an engine where there is a GPU, and runs here in
ONNX Runtime as its graph says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qdsl.diag import Diagnostic, Span
from qdsl.spec.abilities import Abilities
from qdsl.targets.base import Bench, Deployed, Runner, Runtime
from qdsl.targets.results import Built, Emitted, NotHere, Product, Ran, Verification

if TYPE_CHECKING:
    from qdsl.calibrate import Ranges
    from qdsl.capability import Capability
    from qdsl.data import Sample
    from qdsl.graph import Model
    from qdsl.lang.recipe import InputSpec, Require
    from qdsl.lang.recipe import Target as Block
    from qdsl.provenance.records import Provenance
    from qdsl.spec.plan import Plan

NO_ENGINE = NotHere("an engine is built and run on its own GPU (README.md beside the artifact)")


class Tensorrt:
    """See `qdsl.targets.base.Target`. What an artifact computes is seen in ONNX Runtime, unfused; which kernels an
    engine of it runs, and how fast, is not seen here."""

    name = "tensorrt"
    table = "tensorrt"

    def runs_as(self, runner: Runner | None = None) -> str:
        return "its graph in ONNX Runtime, no engine"

    @property
    def runtime(self) -> Runtime:
        from qdsl.targets.tensorrt.runtime import TensorrtRuntime

        return TensorrtRuntime()

    def problems(self, block: Block) -> Iterable[Diagnostic]:
        from qdsl.targets.tensorrt.asked import problems_of

        return problems_of(block)

    def fitted(self, table: Capability, block: Block | None) -> Capability:
        from qdsl.targets.tensorrt.fitted import fitted

        return table if block is None else fitted(table, block)

    def opens(self, plan: Plan) -> Sequence[str]:
        return ()

    def unfit(
        self, block: Block, plan: Plan, requires: Sequence[Require], emitted: Emitted | None = None
    ) -> Iterable[Diagnostic]:
        return ()

    def abilities(self) -> Abilities:
        from qdsl.targets.tensorrt.abilities import abilities

        return abilities()

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
        from qdsl.targets.tensorrt.emit import emit

        return emit(model, plan, ranges, out_dir, inputs=inputs, provenance=provenance)

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        from qdsl.targets.tensorrt.emit import publish

        return publish(emitted, directory)

    def build(self, emitted: Emitted, plan: Plan) -> Built | NotHere:
        from qdsl.targets.tensorrt.build import build

        return build(emitted, plan)

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
    ) -> Verification:
        from qdsl.targets.tensorrt.verify import verify

        return verify(model, emitted, plan, samples, count=count, source=source)

    def kernels(self, model: Path | bytes, span: Span | None = None) -> Mapping[str, Ran] | NotHere:
        return NO_ENGINE

    def products(self, model: Path | bytes, family: str, span: Span | None = None) -> Iterator[Product] | NotHere:
        return NO_ENGINE

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> Runner:
        """Always as its graph says, in ONNX Runtime: fused kernels of this CPU would compute otherwise."""
        from qdsl.targets.as_written import AsWritten

        return AsWritten(emitted.model, threads, span=emitted.span)

    def bench(self, model: Model, ranges: Ranges, folder: Path, threads: int) -> Bench | NotHere:
        return NO_ENGINE

    def deployed(self, emitted: Emitted) -> tuple[Deployed | NotHere, ...]:
        """By ONNX Runtime's TensorRT provider, and by its CUDA provider, where they are installed and a GPU is here."""
        from qdsl.targets.tensorrt.provider import deployed

        return deployed(emitted)
