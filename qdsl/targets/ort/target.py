"""ONNX Runtime, CPU provider, as a target: each part of the contract, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qdsl.diag import Diagnostic, Span
from qdsl.spec.abilities import Abilities
from qdsl.targets.base import Bench, Deployed, Runner, Runtime
from qdsl.targets.results import Emitted, NotHere, Product, Ran, Verification

if TYPE_CHECKING:
    from qdsl.calibrate import Ranges
    from qdsl.capability import Capability
    from qdsl.data import Sample
    from qdsl.graph import Model
    from qdsl.lang.recipe import InputSpec, Require
    from qdsl.lang.recipe import Target as Block
    from qdsl.provenance.records import Provenance
    from qdsl.spec.plan import Plan


class Ort:
    """See `qdsl.targets.base.Target`; it runs here, so that nothing is `NotHere`. It is the reference, too."""

    name = "ort"
    table = "ort_cpu"

    def runs_as(self, runner: Runner | None = None) -> str:
        return ""

    @property
    def runtime(self) -> Runtime:
        from qdsl.targets.ort.runtime import OrtRuntime

        return OrtRuntime()

    def problems(self, block: Block) -> Iterable[Diagnostic]:
        from qdsl.targets.words_of_c import words_of_c

        yield from words_of_c(block, "ONNX Runtime")
        if block.high_precision is None:
            return
        headline = "ONNX Runtime has no `high_precision`: its integer kernels on a CPU have float32 beside them"
        cures = ("`keep X in float16` puts nodes X into float16", "`quantize float` makes a float16 build")
        yield Diagnostic("target-cannot", headline, block.place("high_precision"), help=cures)

    def fitted(self, table: Capability, block: Block | None) -> Capability:
        return table

    def opens(self, plan: Plan) -> Sequence[str]:
        return ()

    def unfit(
        self, block: Block, plan: Plan, requires: Sequence[Require], emitted: Emitted | None = None
    ) -> Iterable[Diagnostic]:
        return ()

    def abilities(self) -> Abilities:
        from qdsl.targets.ort.abilities import abilities

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
        from qdsl.targets.ort.emit import emit

        return emit(model, plan, ranges, out_dir, inputs=inputs, provenance=provenance)

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        from qdsl.targets.onnx_file import publish

        return publish(emitted, directory)

    def build(self, emitted: Emitted, plan: Plan) -> NotHere:
        return NotHere("nothing is built of it: the file is what runs")

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
        from qdsl.targets.ort.verify import verify

        return verify(model, emitted, plan, samples, count=count, source=source, inner=inner)

    def kernels(self, model: Path | bytes, span: Span | None = None) -> Mapping[str, Ran]:
        from qdsl.graph.sessions import RuntimeRefusesError
        from qdsl.targets.ort.exposing import refused
        from qdsl.targets.ort.reality import read

        try:
            return read(model).nodes
        except RuntimeRefusesError as error:
            raise refused("the model", error, span) from None

    def products(self, model: Path | bytes, family: str, span: Span | None = None) -> Iterator[Product]:
        from qdsl.graph.sessions import RuntimeRefusesError
        from qdsl.targets.ort.exposing import refused
        from qdsl.targets.ort.products import products

        try:
            yield from products(model, family)
        except RuntimeRefusesError as error:
            raise refused("the model", error, span) from None

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> Runner:
        from qdsl.targets.ort.run import run

        return run(emitted.model, emitted.manifest, threads=threads, as_written=as_written, span=emitted.span)

    def float_runner(
        self, model: Path, threads: int | None = None, *, as_written: bool = False, span: Span | None = None
    ) -> Runner:
        from qdsl.targets.ort.run import run

        return run(model, threads=threads, as_written=as_written, span=span)

    def bench(self, model: Model, ranges: Ranges, folder: Path, threads: int) -> Bench:
        from qdsl.targets.ort.latency import OrtBench

        return OrtBench(model, ranges, folder, threads)

    def deployed(self, emitted: Emitted) -> tuple[Deployed, ...]:
        from qdsl.targets.ort.run import session_options

        return (Deployed(emitted.model, session_options(emitted.manifest)),)
