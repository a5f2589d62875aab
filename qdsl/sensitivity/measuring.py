"""Sensitivity of a model's layers, by any of its methods: one call with one answer.

What it needs: the canonical float model, units with the ways in which each may be quantized (`units_of` makes those of
a plan, `with_weights` others for its weights), calibrated ranges of every tensor that they quantize, and an open
dataset. Nothing of it is changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qdsl.calibrate.fingerprint import fingerprint, model_digest
from qdsl.causes.errors import decibels
from qdsl.causes.records import Heard, silent
from qdsl.data import Dataset
from qdsl.graph import Model
from qdsl.lang.recipe import DataSpec
from qdsl.lang.recipe import Sensitivity as Asked
from qdsl.passes.qdq_parameters import RangesLike
from qdsl.sensitivity import by_gradients
from qdsl.sensitivity.costs import rests
from qdsl.sensitivity.estimates import rows
from qdsl.sensitivity.networks import networks
from qdsl.sensitivity.seen import Scores, Seen
from qdsl.sensitivity.shares import blocks, share_of
from qdsl.sensitivity.sqnr import run_blocks
from qdsl.sensitivity.state import State
from qdsl.sensitivity.units import Unit
from qdsl.sensitivity.wish import Wish
from qdsl.spec.sensitivity import Sensitivity
from qdsl.spec.words import count

TRIALS, EPSILON = 8, 1e-3
_STATE = ".sensitivity.state"


@dataclass(frozen=True, slots=True)
class How:
    """How it is measured. `seed` draws samples and directions. `share`: each unit on so many samples (`sqnr` alone;
    None: as many as fit into the stated number of passes over the dataset). `trials` are random directions, `epsilon`
    is the size of a perturbation. `classifier`: whether the loss is that of classes (None: by what the model ends in,
    and by the labels). `gains`: each unit is put back in float, too (`sqnr` alone)."""

    method: str = "sqnr"
    seed: int = 0
    share: int | None = None
    trials: int = TRIALS
    epsilon: float = EPSILON
    classifier: bool | None = None
    gains: bool = True


def how(asked: Asked) -> How:
    """What a recipe's `sensitivity` statement asks for."""
    told = dict(asked.settings)
    trials, epsilon = int(told.get("trials", TRIALS)), float(told.get("epsilon", EPSILON))
    return How(asked.method, int(told.get("seed", 0)), trials=trials, epsilon=epsilon)


def samples_of(asked: Asked, spec: DataSpec) -> DataSpec:
    """The statement of the dataset that a recipe's `sensitivity` names, with its own `take`, if it has one."""
    told = dict(asked.settings)
    if "take" not in told:
        return spec
    seed = told.get("seed")
    return replace(spec, take=(int(told["take"]), None if seed is None else int(seed)))


def measure(
    model: Model,
    units: Sequence[Unit],
    ranges: RangesLike,
    dataset: Dataset,
    how: How = How(),
    *,
    folder: Path | None = None,
    heard: Heard = silent,
) -> Sensitivity:
    """What each way of each unit costs the outputs of the canonical float `model`.

    The same for any number of threads. `folder` is where an interrupted measurement leaves what it has, to go on from
    there; a finished one removes it. `heard` is told of samples, done of all. Raises QdslError: sensitivity-outputs,
    sensitivity-run, sensitivity-not-finite, sensitivity-weights, torch-absent, executor-lacks, executor-failed, what
    the inserter of Q/DQ raises for ranges and weights, and what reading samples raises.
    """
    if how.method == "sqnr":
        return _by_sqnr(model, units, ranges, dataset, how, folder, heard)
    return _by_gradients(model, units, ranges, dataset, how, folder, heard)


def _by_sqnr(
    model: Model,
    units: Sequence[Unit],
    ranges: RangesLike,
    dataset: Dataset,
    how: How,
    folder: Path | None,
    heard: Heard,
) -> Sensitivity:
    made = networks(model, units, ranges)
    if not made.parts:
        raise model.error("sensitivity-outputs", f"no output of {model.name} can be compared with the float model's")
    whole = rests(model.view(), units)
    ways = [sum(not choice.nothing for choice in unit.choices) for unit in units]
    costs = [rest * number for rest, number in zip(whole, ways, strict=True)]
    backs = whole if how.gains else []
    share = min(len(dataset), how.share or share_of(len(dataset), costs, backs))
    parts = blocks(len(dataset), len(units), share, how.seed, gains=how.gains)
    state = State(_at(folder), _key(model, units, ranges, dataset, how, share), Seen)
    runs = run_blocks(made, dataset, parts, state, heard)
    found, noise = rows(units, parts, state.seen)
    effort = 2.0 * len(dataset) + sum(
        len(block.samples) * costs[at] + block.gains * whole[at] for block in parts for at in block.units
    )
    state.remove()
    return Sensitivity(
        "sqnr",
        dataset.name,
        len(dataset),
        how.seed,
        found,
        judged_by="float outputs",
        outputs_db=decibels(noise),
        runs=runs,
        effort=round(effort, 3),
        nodes=tuple(unit.members for unit in units),
        model=model_digest(model).hex(),
    )


def _by_gradients(
    model: Model,
    units: Sequence[Unit],
    ranges: RangesLike,
    dataset: Dataset,
    how: How,
    folder: Path | None,
    heard: Heard,
) -> Sensitivity:
    asked = [unit for unit in units if by_gradients.weights_of([unit])]
    if not asked:
        headline = f"`sensitivity {how.method}` speaks of weights alone, and none is quantized"
        raise model.error("sensitivity-weights", headline)
    state = State(_at(folder), _key(model, units, ranges, dataset, how), Scores)
    wish = Wish(how.method, how.seed, how.trials, how.epsilon, how.classifier)
    task = by_gradients.measure(model, asked, dataset, wish, state, heard)
    found = by_gradients.rows(model, asked, how.method, state.seen)
    state.remove()
    return Sensitivity(
        how.method,
        dataset.name,
        len(dataset),
        how.seed,
        found,
        judged_by=task.judged_by,
        trials=how.trials,
        epsilon=how.epsilon if how.method == "gradient" else 0.0,
        runs=len(dataset) * (how.trials + 1),
        nodes=tuple(unit.nodes for unit in asked),
        model=model_digest(model).hex(),
        notes=_left_out(units, how.method),
    )


def _left_out(units: Sequence[Unit], method: str) -> tuple[str, ...]:
    """What a method that speaks of weights does not see."""
    without = sum(not by_gradients.weights_of([unit]) for unit in units)
    rounded = any(choice.tensors for unit in units for choice in unit.choices)
    notes = [f"`{method}` speaks of weights alone: what rounding activations costs is not in it"] if rounded else []
    return (*notes, *([f"{count(without, 'layer')} without weights left out"] if without else []))


def _at(folder: Path | None) -> Path | None:
    return None if folder is None else folder / _STATE


def _key(
    model: Model, units: Sequence[Unit], ranges: RangesLike, dataset: Dataset, how: How, share: int | None = None
) -> str:
    """What a half-done measurement depends on."""
    names = sorted({plan.tensor for unit in units for choice in unit.choices for plan in choice.tensors})
    told = [(name, ranges.low.get(name), ranges.high.get(name)) for name in names]
    parts = (fingerprint(model, [], dataset), repr(units), repr(told), repr(how), repr(share))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
