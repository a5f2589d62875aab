"""The provenance of a build, from its recipe, its plan and what the lock says; and how many bytes it will take."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdsl.lang.recipe import PlaceRule, Recipe
from qdsl.provenance.recipe_files import recipe_files
from qdsl.provenance.records import MARK, Content, DataUsed, Provenance
from qdsl.provenance.stamping import stamp_bytes
from qdsl.spec.plan import Plan

if TYPE_CHECKING:
    from qdsl.lock import Lock

_NO_HASH = "0" * 64
_ENTRY = 6  # bytes of an entry of metadata_props beside its key and value
# Stand for what a plan does not know: they are as long as most of it is.
_TABLE = "ort_cpu"
_TOOLS = tuple((name, "0.00.0") for name in ("numpy", "onnx", "onnx-graphsurgeon", "onnxruntime", "qdsl"))


@dataclass(frozen=True, slots=True)
class Origins:
    """What a build comes from beside its recipe and plan: what the lock says of it, or would say, the versions of the
    tools at work, the kinds of CPU that its sums are exact on, and whether the recipe's text goes with the file."""

    lock: Lock
    tools: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]
    cpus: Collection[str]
    text: bool = True


def provenance_of(recipe: Recipe, plan: Plan, origins: Origins) -> Provenance:
    """Where the file that `plan` gives comes from; its content is told once it is written."""
    from qdsl.provenance.marks import data_used, facts, marks
    from qdsl.spec.plan_json import plan_hash

    lock = origins.lock
    return Provenance(
        recipe=recipe.name,
        files=recipe_files(recipe, text=origins.text),
        parameters=recipe.params if origins.text else None,
        statements=statements_sha256(recipe),
        model=lock.model,
        data=data_used(lock.data, _datasets(plan)),
        pinned=marks(facts(lock, plan.target, _pinned(plan), {use.file for use in plan.caches})),
        target=plan.target,
        mode=plan.mode,
        cpus=tuple(sorted(origins.cpus)),
        tables=origins.tables,
        plan_sha256=plan_hash(plan),
        tools=tuple(sorted(origins.tools)),
        content=NOT_YET,
    )


def statements_sha256(recipe: Recipe) -> str:
    """One hash of what the lock calls the recipe: what its statements say, whatever their layout."""
    from qdsl.lock import meaning

    return named_sha256((part.key, part.sha256) for part in meaning(recipe))


def named_sha256(pairs: Iterable[tuple[str, str]]) -> str:
    """One hash of names with their hashes."""
    text = "".join(f"{name}\0{digest}\n" for name, digest in pairs)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def foreseen_bytes(recipe: Recipe, plan: Plan, cpus: Collection[str]) -> int:
    """Bytes that the provenance of `plan` will take in the file, with what every file tells of its plan, to within a
    few dozen: what is not known before data is read counts with its usual length, so that a plan does not depend on
    the versions that are installed."""
    data = tuple(DataUsed(name, 100, 100, _NO_HASH) for name in sorted(_datasets(plan)))
    expected = Provenance(
        recipe=recipe.name,
        files=recipe_files(recipe),
        parameters=recipe.params,
        statements=_NO_HASH,
        model=((plan.model, _NO_HASH),),
        data=data,
        pinned="0" * (MARK * (len(_pinned(plan)) + len(plan.caches) + _allocated(recipe) + _improved(plan))),
        target=plan.target,
        mode=plan.mode,
        cpus=tuple(cpus),
        tables=((_TABLE, _NO_HASH),),
        plan_sha256=_NO_HASH,
        tools=_TOOLS,
        content=NOT_YET,
    )
    beside = (("qdsl.recipe", recipe.name), ("qdsl.plan_sha256", _NO_HASH), ("qdsl.version", "0.0.0"))
    return len(stamp_bytes(expected)) + sum(_ENTRY + len(name) + len(value) for name, value in beside)


NOT_YET = Content(_NO_HASH, _NO_HASH, _NO_HASH)


def _pinned(plan: Plan) -> set[str]:
    """Tensors whose range or means the lock has for this plan."""
    measured = {each.tensor for each in plan.tensors if each.observe and each.calibration.data is not None}
    return measured | {bias.activation for bias in plan.corrections}


def _allocated(recipe: Recipe) -> int:
    """How many nodes have what `allocate` gave them, which the lock has, too."""
    return sum(
        len(rule.picks.parts) for rule in recipe.rules if not isinstance(rule, PlaceRule) and rule.level == "allocate"
    )


def _improved(plan: Plan) -> int:
    """How many means and weights with chosen integers the lock has beside ranges."""
    return len({bias.activation for bias in plan.corrections}) + len(
        {(weight.tensor, str(weight.scheme)) for weight in plan.weights if weight.rounded_on is not None}
    )


def _datasets(plan: Plan) -> set[str]:
    """The datasets that measure for this plan."""
    ranges = {each.calibration.data for each in plan.tensors if each.observe}
    return {name for name in (*ranges, *(bias.corrected_on for bias in plan.corrections)) if name is not None}
