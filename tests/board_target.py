"""A target of the tests: it emits a file that nothing here runs, and its table has a few rows and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from qdsl.calibrate import Ranges
from qdsl.capability import Capability, load, loader
from qdsl.capability.reasons import ALWAYS
from qdsl.data import Sample
from qdsl.diag import Diagnostic, Span
from qdsl.graph import Model
from qdsl.graph.view import GraphView
from qdsl.lang import resolve, vocabulary
from qdsl.lang.recipe import InputSpec, Require
from qdsl.lang.recipe import Target as Block
from qdsl.predict.bounds import Interval
from qdsl.predict.edges import Edges, edges_of_plan
from qdsl.predict.rules import judge
from qdsl.provenance.records import Provenance
from qdsl.rewrite import Trace
from qdsl.spec.abilities import DEEDS, Abilities, Ability
from qdsl.spec.plan import BiasPlan, Flag, Plan, Prediction, TensorPlan, WeightPlan
from qdsl.targets import TARGETS
from qdsl.targets.base import Lack, Refusal, Runner, Runtime, Target
from qdsl.targets.manifest import manifest
from qdsl.targets.results import MANIFEST_FILE, Emitted, EmittedFile, NotHere, Product

NO_BOARD = NotHere("there is no board")
TABLE = """format = 1
title = "Board"
evidence = "made up for the tests"
min_opset = 13
max_opset = 26

[widths]
activation = { 8 = "int8" }
weight = { 8 = "int8" }

[[type]]
dtype = "int8"
activation = { runs = "integer", symmetric = true, granularities = ["per_tensor"] }
weight = { runs = "integer", symmetric = true, granularities = ["per_channel", "per_tensor"] }
because = "the only integers here"
evidence = "made up"

[[row]]
name = "conv"
ops = ["Conv"]
kind = "compute"
kernel = "BoardConv"
activations = [0]
weights = [1]
bias = 2
output = "required"
activation_types = ["int8"]
weight_types = ["int8"]
weight_granularities = ["per_channel", "per_tensor"]
channel_axis = { axis = 0 }
because = "the one kernel"
evidence = "made up"

[[row]]
name = "other"
ops = ["*"]
kind = "float"
because = "computes in float"
evidence = "made up"

[reasons]
""" + "".join(f'{key} = "{key.replace("_", " ")}"\n' for key in ALWAYS)


class BoardRuntime:
    """Software without habits: it runs what is written down."""

    copy = "Identity"

    def predict(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
        ranges: Mapping[str, Interval] | None = None,
    ) -> dict[str, Prediction]:
        return judge(view, edges_of_plan(view, tensors, weights, biases, ranges), capability)

    def predict_edges(self, view: GraphView, edges: Edges, capability: Capability) -> dict[str, Prediction]:
        return judge(view, edges, capability)

    def predict_dynamic(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        capability: Capability,
    ) -> dict[str, Prediction]:
        raise AssertionError("the table has no dynamic rows")

    def refuses(
        self,
        view: GraphView,
        tensors: Mapping[str, TensorPlan],
        weights: Sequence[WeightPlan],
        biases: Sequence[BiasPlan],
        capability: Capability,
    ) -> Refusal | None:
        return None

    def lacks(self, view: GraphView, capability: Capability) -> Sequence[Lack]:
        return ()

    def misreads(self, model: Model, view: GraphView, products: Iterable[Product]) -> None:
        return None

    def flags(self, view: GraphView, predictions: Mapping[str, Prediction]) -> tuple[Flag, ...]:
        return ()

    def file_bytes(
        self, plan: Plan, view: GraphView, capability: Capability, float_bytes: int, carried: int = 0
    ) -> int:
        return len(program(plan))

    def foresees(self, plan: Plan, view: GraphView, capability: Capability) -> Trace:
        return Trace()


class Board:
    """See `qdsl.targets.base.Target`."""

    name = "board"
    table = "board"

    def runs_as(self, runner: Runner | None = None) -> str:
        return ""

    @property
    def runtime(self) -> Runtime:
        return BoardRuntime()

    def problems(self, block: Block) -> Iterable[Diagnostic]:
        return ()

    def fitted(self, table: Capability, block: Block | None) -> Capability:
        return table

    def opens(self, plan: Plan) -> Sequence[str]:
        return ()

    def unfit(
        self, block: Block, plan: Plan, requires: Sequence[Require], emitted: Emitted | None = None
    ) -> Iterable[Diagnostic]:
        return ()

    def abilities(self) -> Abilities:
        absent = Ability(False, NO_BOARD.why, "buy a board")
        return {deed: Ability(True, "qdsl alone") if deed == "emit" else absent for deed in DEEDS}

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
        directory = out_dir / plan.target
        directory.mkdir(parents=True)
        content = program(plan)
        (directory / "program.c").write_bytes(content)
        files = (EmittedFile("program.c", len(content), hashlib.sha256(content).hexdigest()),)
        (directory / MANIFEST_FILE).write_text(manifest(plan, files, Trace(), {"board": "none"}), encoding="utf-8")
        return Emitted(
            directory=directory,
            model=directory / "program.c",
            manifest=directory / MANIFEST_FILE,
            files=files,
            predicted_size=plan.totals.predicted_bytes,
        )

    def publish(self, emitted: Emitted, directory: Path) -> Emitted:
        directory.mkdir(parents=True, exist_ok=True)
        moved = {path.name: path.replace(directory / path.name) for path in emitted.directory.iterdir()}
        return Emitted(
            directory=directory,
            model=moved["program.c"],
            manifest=moved[MANIFEST_FILE],
            files=emitted.files,
            predicted_size=emitted.predicted_size,
        )

    def build(self, emitted: Emitted, plan: Plan) -> NotHere:
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
    ) -> NotHere:
        return NO_BOARD

    def kernels(self, model: Path | bytes, span: Span | None = None) -> NotHere:
        return NO_BOARD

    def products(self, model: Path | bytes, family: str, span: Span | None = None) -> NotHere:
        return NO_BOARD

    def runner(self, emitted: Emitted, threads: int | None = None, *, as_written: bool = False) -> NotHere:
        return NO_BOARD

    def bench(self, model: Model, ranges: Ranges, folder: Path, threads: int) -> NotHere:
        return NO_BOARD

    def deployed(self, emitted: Emitted) -> tuple[NotHere, ...]:
        return (NO_BOARD,)


def board() -> Target:
    """As the index makes it."""
    return Board()


def program(plan: Plan) -> bytes:
    lines: list[Any] = [node.node for node in plan.nodes if node.prediction.runs == "integer"]
    return f"/* {json.dumps(lines)} */\n".encode()


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, table: str = TABLE) -> None:
    """Put the target into the index and the language, and its table beside the others."""
    tables = folder / "tables"
    tables.mkdir()
    for name in loader.names():
        (tables / f"{name}.toml").write_bytes(loader.source(name))
    (tables / "board.toml").write_text(table, encoding="utf-8")
    load.cache_clear()
    monkeypatch.setattr(loader, "_home", lambda: tables)
    monkeypatch.setitem(TARGETS, Board.name, board)
    for module in (resolve, vocabulary):
        monkeypatch.setattr(module, "TARGETS", (*vocabulary.TARGETS, Board.name))
