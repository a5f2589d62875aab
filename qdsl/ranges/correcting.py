"""From plans to the means that bias correction rests on: what is asked of each dataset, and one short pass that
answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qdsl.calibrate.means import channel_means
from qdsl.data import Dataset
from qdsl.graph.view import GraphView
from qdsl.spec.plan import Plan
from qdsl.spec.words import count
from qdsl.work.prepared import Prepared

Heard = Callable[[str, int, int, float], None]


Means = Mapping[tuple[str, str], tuple[float, ...]]  # by tensor and dataset


def wanted(plan: Plan) -> dict[str, str]:
    """Tensors whose channel means are needed, and the dataset to measure each on."""
    return {b.activation: b.corrected_on for b in plan.corrections if b.corrected_on is not None}


def wanted_of(plans: Sequence[Plan]) -> list[tuple[str, str]]:
    """The same over all targets, sorted: a tensor stands there once for each dataset."""
    return sorted({pair for plan in plans for pair in wanted(plan).items()})


def means_for(plan: Plan, known: Means) -> dict[str, tuple[float, ...]]:
    """Those that the plan needs, by tensor."""
    return {tensor: known[tensor, data] for tensor, data in sorted(wanted(plan).items())}


def channels(view: GraphView, plans: Sequence[Plan]) -> dict[str, int]:
    """How many means each tensor of `wanted` has: the input channels that the weights of its reader say."""
    found = {}
    for bias in (bias for plan in plans for bias in plan.corrections):
        node = view.node(bias.node)
        shape = view.tensors[node.inputs[bias.weight_port]].shape or ()
        axis = 0 if node.op == "Gemm" and not node.attrs.get("transB") else 1
        size, groups = shape[axis] if len(shape) > axis else None, node.attrs.get("group", 1)
        if isinstance(size, int) and isinstance(groups, int):
            found[bias.activation] = size * groups
    return found


def measure_means(prepared: Prepared, plans: Sequence[Plan], datasets: Mapping[str, Dataset], heard: Heard) -> Means:
    """The means by tensor and dataset. `heard` is told (text, samples done, samples in all, 0); zeros at the end of a
    dataset."""
    asked = wanted_of(plans)
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for name in sorted({data for _, data in asked}):
        tensors = [tensor for tensor, data in asked if data == name]
        how, seen = f"bias_correct on {name}", 0

        def progress(done: int, total: int, how: str = how) -> None:
            nonlocal seen
            seen = done
            heard(how, done, total, 0.0)

        means = channel_means(prepared.model, tensors, datasets[name], progress=progress)
        found |= {(tensor, name): each for tensor, each in means.items()}
        heard(f"{how}   means of {count(len(tensors), 'tensor')} over {count(seen, 'sample')}", 0, 0, 0.0)
    return found
