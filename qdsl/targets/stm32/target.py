"""STM32 as a target: C for a Cortex-M that computes in integers, and the Q/DQ file that it was made of."""

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

NO_BOARD = NotHere("no board is here: it is built into your firmware (c/ beside the model)")
NO_TIME = NotHere("no board is here to time it on, and an emulated core counts instructions, no cycles")
NO_C = NotHere("C is made of a plan, and nothing was planned for this file")


class Stm32:
    """See `qdsl.targets.base.Target`. What an artifact computes is seen here, to the bit; how fast a board does it is
    not."""

    name = "stm32"
    table = "stm32"

    def runs_as(self, runner: Runner | None = None) -> str:
        from qdsl.targets.stm32.on_core import OnCore

        core = runner.device.built.core.label.partition(",")[0] if isinstance(runner, OnCore) else ""
        return f"its C on an {core}" if core else "its integer graph on this machine"

    @property
    def runtime(self) -> Runtime:
        from qdsl.targets.stm32.runtime import Stm32Runtime

        return Stm32Runtime()

    def problems(self, block: Block) -> Iterable[Diagnostic]:
        from qdsl.targets.stm32.asked import problems_of

        return problems_of(block)

    def fitted(self, table: Capability, block: Block | None) -> Capability:
        return table

    def opens(self, plan: Plan) -> Sequence[str]:
        from qdsl.targets.stm32.asked import asked
        from qdsl.targets.stm32.latency import words

        board = asked(plan).board
        found = words(board, plan) if board is not None else ""
        return (found,) if found else ()

    def unfit(
        self, block: Block, plan: Plan, requires: Sequence[Require], emitted: Emitted | None = None
    ) -> Iterable[Diagnostic]:
        from qdsl.targets.stm32.fitting import unfit

        return unfit(block, plan, requires, emitted)

    def abilities(self) -> Abilities:
        from qdsl.targets.stm32.abilities import abilities

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
        from qdsl.targets.stm32.emit import emit

        return emit(model, plan, ranges, out_dir, inputs=inputs, provenance=provenance)

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        from qdsl.targets.stm32.emit import publish

        return publish(emitted, directory)

    def build(self, emitted: Emitted, plan: Plan) -> Built | NotHere:
        return NO_BOARD

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
        from qdsl.targets.stm32.verify import verify

        return verify(model, emitted, plan, samples, count=count, source=source)

    def kernels(self, model: Path | bytes, span: Span | None = None) -> Mapping[str, Ran] | NotHere:
        return NO_C

    def products(self, model: Path | bytes, family: str, span: Span | None = None) -> Iterator[Product] | NotHere:
        return NO_C

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> Runner:
        from qdsl.targets.stm32.run import runner

        return runner(emitted, as_written=as_written)

    def bench(self, model: Model, ranges: Ranges, folder: Path, threads: int) -> Bench | NotHere:
        return NO_BOARD

    def deployed(self, emitted: Emitted) -> Sequence[Deployed | NotHere]:
        return (NO_TIME,)
