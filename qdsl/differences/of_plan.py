"""A plan as a side of a comparison."""

from __future__ import annotations

from collections import defaultdict

from qdsl.differences.side import Node, Side, Tensor, Weight
from qdsl.spec.plan import AS_IT_IS, Plan, Reader, TensorPlan
from qdsl.spec.words import plain


def side_of_plan(plan: Plan, name: str, kind: str = "plan", lines: tuple[str, ...] = ()) -> Side:
    """What `plan` says. Scales are not in it: only data decides them."""
    stored: defaultdict[str, set[str]] = defaultdict(set)
    read: defaultdict[str, set[str]] = defaultdict(set)
    for weight in plan.weights:
        stored[weight.node].add(weight.scheme.dtype.name)
    for tensor in plan.tensors:
        for reader in tensor.readers:
            read[reader.node].add(tensor.scheme.dtype.name)
    known = plan.mode != AS_IT_IS
    return Side(
        name=name,
        kind=kind,
        target=plan.target,
        nodes={
            n.node: Node(n.op, n.prediction.runs, _listed(stored[n.node]), _listed(read[n.node])) for n in plan.nodes
        },
        tensors=_tensors(plan.tensors),
        weights=_weights(plan),
        lines=lines,
        macs=plan.totals.macs if known else None,
        integer_macs=plan.totals.integer_macs if known else None,
        size=plan.totals.predicted_bytes,
        foreseen=True,
    )


def _listed(types: set[str]) -> str:
    return ", ".join(sorted(types))


def _weights(plan: Plan) -> dict[str, Weight]:
    """Constants that are stored otherwise than in the float model. A bias has a scale for each one of its weight."""
    found = {f"{w.node}:{w.port}": Weight(str(w.scheme)) for w in plan.weights}
    channels = {(w.node, w.port): w.scheme.granularity.value for w in plan.weights}
    for bias in plan.biases:
        found[f"{bias.node}:{bias.port}"] = Weight(f"int32 symmetric {channels[bias.node, bias.weight_port]}")
    return found | {f"{h.node}:{h.port}": Weight("float16") for h in plan.half_weights}


def _tensors(tensors: tuple[TensorPlan, ...]) -> dict[str, Tensor]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for each in tensors:
        groups[each.group].append(each.tensor)
    return {
        each.tensor: Tensor(
            scheme=str(each.scheme),
            readers=tuple(place(reader) for reader in each.readers),
            shares=tuple(sorted(name for name in groups[each.group] if name != each.tensor)),
        )
        for each in tensors
    }


def place(reader: Reader) -> str:
    """`/conv1:0`, or `output` for a graph output."""
    return f"{plain(reader.node)}:{reader.port}" if reader.node else "output"
