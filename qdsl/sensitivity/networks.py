"""The networks that sensitivity is measured on: the float model, the model with everything quantized, and for each unit
the rest of one of them from the unit on, with this one unit as in the other.

All of them are put together of the nodes of a few graphs. The inserter of Q/DQ (`qdsl.passes.insert_qdq`) keeps the
names of tensors and nodes, so that a node of the quantized graph can stand in the float one, behind the Q/DQ that it
reads. What stands before a unit is not run again: the tensors that enter the rest are taken from one run of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from qdsl.causes.errors import Part
from qdsl.causes.outputs import parts_of
from qdsl.graph import Model, to_proto, upgrade_opset
from qdsl.graph.edit import add_node
from qdsl.passes.insert_qdq import InsertQDQ
from qdsl.passes.qdq_parameters import RangesLike
from qdsl.sensitivity.units import Choice, Unit
from qdsl.spec import DTYPES, Scheme
from qdsl.spec.opset import least_opset
from qdsl.spec.plan import BiasPlan, Reader, TensorPlan, WeightPlan

_OUT = Reader("", -1)
_SEEN = "qdsl.seen"


@dataclass(frozen=True, slots=True)
class Written:
    """A graph, its nodes by name in topological order, its constants by name, and what is known of every tensor."""

    proto: ModelProto
    nodes: Mapping[str, NodeProto]
    constants: Mapping[str, TensorProto]
    types: Mapping[str, ValueInfoProto]

    @classmethod
    def of(cls, model: Model) -> Written:
        proto = to_proto(model)
        graph = proto.graph
        known = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
        constants = {each.name: each for each in graph.initializer}
        return cls(proto, {node.name: node for node in graph.node}, constants, known)


@dataclass(frozen=True, slots=True)
class Network:
    """A graph as bytes: what is fed to it, what it writes."""

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Networks:
    """`parts` are what is compared of the outputs, by names that stand in every network. `floats` is the float model,
    `whole` the one with each unit quantized in its first way, `sheets` hold each way of each unit, by the places of
    unit and choice; a way that quantizes nothing has none."""

    units: Sequence[Unit]
    parts: tuple[Part, ...]
    floats: Written
    whole: Written
    sheets: Mapping[tuple[int, int], Written]
    swapped: Sequence[frozenset[str]]

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(part.output for part in self.parts))

    def alone(self, unit: int, choice: int) -> Network:
        """From this unit on, quantized so, in the float model."""
        return _rest(self.floats, self.sheets[unit, choice], self.swapped[unit], self.outputs)

    def without(self, unit: int) -> Network:
        """From this unit on, in float, in the model with everything quantized."""
        return _rest(self.whole, self.floats, self.swapped[unit], self.outputs)

    def base(self, *, quantized: bool, shown: Iterable[str]) -> Network:
        """The whole of a model, which writes the tensors `shown`, too."""
        written = self.whole if quantized else self.floats
        inputs = [each.name for each in written.proto.graph.input]
        outputs = [*self.outputs, *(name for name in dict.fromkeys(shown) if name not in (*self.outputs, *inputs))]
        return _network(written, list(written.nodes.values()), inputs, outputs)


def networks(model: Model, units: Sequence[Unit], ranges: RangesLike) -> Networks:
    """The networks for the canonical float `model`. Raises QdslError as the inserter does, model-too-large; ValueError
    where two units quantize one tensor in two ways at once by their first choices."""
    units = [replace(unit, choices=tuple(map(_wide, unit.choices))) for unit in units]
    every = [choice for unit in units for choice in unit.choices]
    made = upgrade_opset(model.copy(), max(least_opset(_Pieces(c.tensors, c.weights, c.biases)) for c in every))
    parts, eyes = _with_eyes(made)
    units, swapped = _seeing(units, eyes)
    numbered = [(at, n, each) for at, unit in enumerate(units) for n, each in enumerate(unit.choices)]
    packed = list(_packed([each for each in numbered if not each[2].nothing], units))
    whole = _together([unit.choices[0] for unit in units], units)
    sheets: dict[tuple[int, int], Written] = {}
    for chosen in packed:
        pieces = _together([each for *_, each in chosen], units)
        written = _quantized(made, pieces, ranges)
        sheets |= {(at, n): written for at, n, _ in chosen}
    same = next(
        (sheets[chosen[0][:2]] for chosen in packed if _together([c for *_, c in chosen], units) == whole), None
    )
    found = same if same is not None else _quantized(made, whole, ranges)
    return Networks(units, parts, Written.of(made), found, sheets, swapped)


# --- what is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Eyes:
    """By tensor that is compared the node behind it. Of `public` ones, which are graph outputs, a pair is seen where
    the output reads it; of others always: what chooses from them reads it."""

    nodes: Mapping[str, str]
    public: frozenset[str]

    def see(self, plan: TensorPlan) -> bool:
        return plan.tensor in self.nodes and (plan.tensor not in self.public or _OUT in plan.readers)


def _with_eyes(model: Model) -> tuple[tuple[Part, ...], _Eyes]:
    """An Identity behind each tensor that is compared, so that its own rounding is seen under a name that no rewrite
    takes; the parts under these names."""
    view = model.view()
    parts = parts_of(view)
    named, nodes = {}, {}
    for name in dict.fromkeys(part.output for part in parts):
        tensor = model.tensor(name)
        node = add_node(model, "Identity", [tensor], name=f"{_SEEN}.{name}", like=tensor)
        model.graph.outputs.append(node.outputs[0])
        named[name], nodes[name] = node.outputs[0].name, node.name
    return tuple(replace(part, output=named[part.output]) for part in parts), _Eyes(nodes, frozenset(view.outputs))


def _seeing(units: Sequence[Unit], eyes: _Eyes) -> tuple[tuple[Unit, ...], tuple[frozenset[str], ...]]:
    """The units whose pairs on what is compared are read by the Identity behind it, and by node names what changes
    where a unit is quantized. A pair of several units on such a tensor is seen with the first."""
    owner: dict[str, int] = {}
    for at, unit in enumerate(units):
        for plan in (plan for choice in unit.choices for plan in choice.tensors if eyes.see(plan)):
            owner.setdefault(plan.tensor, at)
    mine = [frozenset(name for name, whose in owner.items() if whose == at) for at in range(len(units))]
    pairs = list(zip(units, mine, strict=True))
    made = (replace(unit, choices=tuple(_shown(c, own, eyes) for c in unit.choices)) for unit, own in pairs)
    return tuple(made), tuple(frozenset((*unit.nodes, *(eyes.nodes[name] for name in own))) for unit, own in pairs)


def _shown(choice: Choice, own: frozenset[str], eyes: _Eyes) -> Choice:
    tensors = []
    for plan in choice.tensors:
        readers = tuple(reader for reader in plan.readers if reader != _OUT)
        readers += (Reader(eyes.nodes[plan.tensor], 0),) if plan.tensor in own and eyes.see(plan) else ()
        tensors += [replace(plan, readers=readers)] if readers else []
    return replace(choice, tensors=tuple(tensors))


# --- quantized graphs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pieces:
    """What the inserter reads of a plan."""

    tensors: tuple[TensorPlan, ...]
    weights: tuple[WeightPlan, ...]
    biases: tuple[BiasPlan, ...]
    float_biases: tuple[BiasPlan, ...] = ()
    recipe: str = ""
    mode: str = "static"


def _wide(choice: Choice) -> Choice:
    """The same values in types of 8 bits, which every opset has: a width of fewer bits is held to by its ends."""
    tensors = tuple(replace(each, scheme=_widened(each.scheme)) for each in choice.tensors)
    weights = tuple(replace(each, scheme=_widened(each.scheme)) for each in choice.weights)
    return replace(choice, tensors=tensors, weights=weights)


def _widened(scheme: Scheme) -> Scheme:
    dtype = scheme.dtype
    if not dtype.integer or dtype.bits >= 8:
        return scheme
    wide = DTYPES["int8" if dtype.signed else "uint8"]
    return replace(scheme, dtype=wide, emulated_bits=min(scheme.emulated_bits or dtype.bits, dtype.bits))


def _quantized(model: Model, pieces: _Pieces, ranges: RangesLike) -> Written:
    made = model.copy()
    InsertQDQ(pieces, ranges).apply(made)
    return Written.of(made)


def _packed(
    choices: Sequence[tuple[int, int, Choice]], units: Sequence[Unit]
) -> Iterator[list[tuple[int, int, Choice]]]:
    """The choices in as few graphs as their order allows: none with a node of two choices, or a tensor in two ways."""
    left = list(choices)
    while left:
        taken: list[tuple[int, int, Choice]] = []
        used: set[str] = set()
        ways: dict[str, TensorPlan] = {}
        for each in left:
            at, _, choice = each
            mine = {*units[at].members, *units[at].nodes}
            if used & mine or any(not _alike(ways.get(plan.group), plan) for plan in choice.tensors):
                continue
            taken.append(each)
            used |= mine
            ways |= {plan.group: plan for plan in choice.tensors}
        yield taken
        left = [each for each in left if each not in taken]


def _alike(one: TensorPlan | None, other: TensorPlan) -> bool:
    return one is None or one.scheme == other.scheme


def _together(choices: Sequence[Choice], units: Sequence[Unit]) -> _Pieces:
    """Choices of several units as one plan. What shares a scale with a pair of theirs takes part in its range, though
    nobody reads it."""
    tensors: dict[str, TensorPlan] = {}
    for plan in (plan for choice in choices for plan in choice.tensors):
        known = tensors.get(plan.tensor)
        if known is not None and (known.scheme, known.group) != (plan.scheme, plan.group):
            raise ValueError(f"`{plan.tensor}` is quantized as {known.scheme} and as {plan.scheme} at once")
        readers = plan.readers if known is None else (*known.readers, *plan.readers)
        tensors[plan.tensor] = replace(plan, readers=tuple(dict.fromkeys(readers)))
    schemes = {plan.group: plan.scheme for plan in tensors.values()}
    every = (plan for unit in units for choice in unit.choices for plan in choice.tensors)
    for plan in every:
        if plan.group in schemes and plan.tensor not in tensors:
            tensors[plan.tensor] = replace(plan, scheme=schemes[plan.group], readers=())
    weights = tuple(each for choice in choices for each in choice.weights)
    return _Pieces(tuple(tensors.values()), weights, tuple(each for choice in choices for each in choice.biases))


# --- the rest of a graph ----------------------------------------------------------------------------------------------


def _rest(base: Written, other: Written, swapped: frozenset[str], outputs: Sequence[str]) -> Network:
    """`base` with the nodes `swapped` as they are in `other`, from the first tensor on that this changes: what comes
    before is fed."""
    nodes, changed = _exchanged(base, other, swapped)
    fed = {each.name for each in base.proto.graph.input}
    moving: set[str] = set(fed)  # what depends on the inputs
    affected: set[str] = set()
    rest: list[NodeProto] = []
    still: dict[str, NodeProto] = {}  # by tensor what computes on constants alone
    for node in nodes:
        read = _read(node)
        if not read & moving:
            still |= dict.fromkeys(node.output, node)
            continue
        moving |= set(node.output)
        if node.name in changed or read & affected:
            affected |= set(node.output)
            rest.append(node)
    wanted = [name for name in outputs if name in affected]
    rest = _needed(rest, wanted)
    inside = {name for node in rest for name in node.output}
    entering = dict.fromkeys(name for node in rest for name in sorted(_read(node)) if name in moving - inside)
    return _network(base, [*_behind(rest, still), *rest], list(entering), wanted, other)


def _exchanged(base: Written, other: Written, swapped: frozenset[str]) -> tuple[list[NodeProto], set[str]]:
    """The nodes of `base` with some as they are in `other`, behind what only `other` has; which of them are of it."""
    writers = {name: node for node in other.nodes.values() for name in node.output if node.name not in base.nodes}
    made: list[NodeProto] = []
    changed: set[str] = set()

    def put(node: NodeProto) -> None:
        changed.add(node.name)
        for name in node.input:  # Q/DQ stand at most a few behind each other
            before = writers.get(name)
            if before is not None and before.name not in changed:
                put(before)
        made.append(node)

    for name, node in base.nodes.items():
        if name in swapped and other.nodes[name].input != node.input:
            put(other.nodes[name])
        else:
            made.append(node)
    return made, changed


def _needed(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """Those that `wanted` are computed of."""
    asked, found = set(wanted), []
    for node in reversed(nodes):
        if asked & set(node.output):
            asked |= _read(node)
            found.append(node)
    return found[::-1]


def _behind(nodes: Iterable[NodeProto], still: Mapping[str, NodeProto]) -> list[NodeProto]:
    """What computes on constants alone and is read, in order."""
    found: dict[str, NodeProto] = {}

    def put(node: NodeProto) -> None:
        for name in sorted(_read(node)):
            before = still.get(name)
            if before is not None and before.name not in found:
                put(before)
                found[before.name] = before

    for node in nodes:
        put(node)
    return list(found.values())


def _read(node: NodeProto) -> set[str]:
    """The names that a node reads, those that its bodies may take from outside among them."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else list(attribute.graphs)
        for graph in graphs:
            inner = set().union(*(_read(each) for each in graph.node)) | {each.name for each in graph.output}
            found |= inner - {name for each in graph.node for name in each.output}
    return found


def _network(
    base: Written,
    nodes: Sequence[NodeProto],
    inputs: Sequence[str],
    outputs: Sequence[str],
    other: Written | None = None,
) -> Network:
    """A model of these nodes, with the constants that they read."""
    proto = ModelProto(ir_version=base.proto.ir_version)
    sides = [base] if other is None else [base, other]
    opsets = {each.domain: each for side in sides for each in side.proto.opset_import}
    proto.opset_import.extend(opsets.values())
    proto.functions.extend(base.proto.functions)
    graph = proto.graph
    graph.name = "part"
    graph.node.extend(nodes)
    types = {name: info for side in reversed(sides) for name, info in side.types.items()}
    graph.input.extend(types[name] for name in inputs)
    graph.output.extend(types.get(name, ValueInfoProto(name=name)) for name in outputs)
    read = dict.fromkeys(name for node in nodes for name in sorted(_read(node)))
    constants = {name: value for side in reversed(sides) for name, value in side.constants.items()}
    graph.initializer.extend(constants[name] for name in read if name in constants)
    return Network(proto.SerializeToString(deterministic=True), tuple(inputs), tuple(outputs))
