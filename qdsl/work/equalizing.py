"""`improve { equalize }`: the model that everything after it sees, in place of the user's."""

from __future__ import annotations

from qdsl.diag import Diagnostic, QdslError
from qdsl.graph import Model
from qdsl.lang.recipe import Recipe
from qdsl.passes.index import make
from qdsl.rewrite import Trace, run
from qdsl.spec.plan import AS_IT_IS


def asks_to_equalize(recipe: Recipe) -> bool:
    """Whether the recipe wants it; a file that stays as it is is refused later, beside what else it cannot have."""
    wanted = recipe.improve is not None and "equalize" in {name for name, _ in recipe.improve.steps}
    return wanted and (recipe.mode is None or recipe.mode.kind != AS_IT_IS)


def equalize(model: Model, recipe: Recipe) -> Trace:
    """Equalize a model in canonical form, in place. Raises QdslError `nothing-to-equalize` where nothing changes."""
    trace = run([make("equalize")], model)
    if trace.edits or recipe.improve is None:
        return trace
    refused = [f"{each.node}: {each.reason}" for step in trace.steps for each in step.outcome.refused]
    headline = f"`equalize` finds no two layers in {model.name} between which it could move range"
    label = "it scales what one Conv or Gemm writes and the next alone reads, through Relu, Clip and pooling"
    cures = ("take it out",)
    raise QdslError(
        [Diagnostic("nothing-to-equalize", headline, recipe.improve.span, label, cures, notes=tuple(refused[:3]))]
    )


def equalized_pairs(trace: Trace) -> int:
    """Between how many pairs of layers range was moved."""
    return sum(len(step.outcome.fired) for step in trace.steps if step.word == "equalize")
