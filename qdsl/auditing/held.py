"""What a recipe decided, held against what a file has: port by port, since a recipe speaks of what nodes read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from qdsl.auditing import halves
from qdsl.auditing.agreeing import covers, disagreement, stands_for, value_of, words
from qdsl.auditing.asked import AT_RUN_TIME, Asked
from qdsl.auditing.differing import Difference, Port, difference
from qdsl.auditing.telling import listed, shown
from qdsl.finished.collapsed import Collapsed
from qdsl.finished.records import Finished, Parameters, QuantizedTensor
from qdsl.graph.integer_operators import MULTIPLYING
from qdsl.predict.edges import OUTPUT
from qdsl.spec.plan import BiasPlan, Origin, Reader, TensorPlan, WeightPlan


@dataclass(frozen=True)
class Held:
    """What was found: decisions that the file lacks or has otherwise, what it has that nobody decided, and how many
    decisions speak of nodes that the file has not under that name, with that operator. `matched`: it has some of the
    recipe's nodes."""

    absent: tuple[Difference, ...]
    extra: tuple[Difference, ...]
    unmatched: int
    matched: bool


def hold(asked: Asked, finished: Finished, collapsed: Collapsed) -> Held:
    """Hold the decisions of `asked` against a file. Linear in both."""
    same = {node.name: node.op for node in collapsed.view.nodes if node.op in asked.ops.get(node.name, ())}
    outputs = {_public(finished, name): name for name in collapsed.view.outputs}
    by_tensor = {each.tensor: each for each in reversed(finished.tensors)}
    return _Holding(asked, finished, _ports(finished, collapsed), same, outputs, by_tensor).all()


def _ports(finished: Finished, collapsed: Collapsed) -> dict[Port, QuantizedTensor]:
    """What each port that reads integers reads."""
    by_tensor: dict[str, dict[str, QuantizedTensor]] = {}
    for each in finished.tensors:
        by_tensor.setdefault(each.tensor, {})[each.parameters.key] = each
    view, found = collapsed.view, dict[Port, QuantizedTensor]()
    for use, quant in collapsed.edges.reads.items():
        node = view.nodes[use.node]
        records = by_tensor.get(node.inputs[use.port], {})
        record = records.get(quant.params) or next(iter(records.values()), None)
        if record is not None:
            found[Port(node.name, use.port)] = record
    for each in finished.tensors:  # what no kernel of any table takes is no edge
        for reader in each.readers:
            if reader.node in view.node_index:
                found.setdefault(Port(reader.node, reader.port), each)
    found |= {port: each for port, each in _on_integers(finished) if port.node in view.node_index and port not in found}
    for name, written in collapsed.edges.written.items():
        for quant, uses in written.quants.items():
            record = by_tensor.get(name, {}).get(quant.params) or next(iter(by_tensor.get(name, {}).values()), None)
            if OUTPUT in uses and record is not None:
                found[Port("", -1, name)] = record
    return found


def _on_integers(finished: Finished) -> Iterator[tuple[Port, QuantizedTensor]]:
    """What nodes read that stand on the integers between a Q and a DQ (a Concat, a Transpose), by port."""
    view = finished.view
    moved = {node for each in finished.tensors for node in each.between}
    holds: dict[str, QuantizedTensor] = {}
    for each in finished.tensors:
        holds.update((output, each) for node in each.quantizers for output in view.node(node).outputs if output)
    for seen in view.nodes if moved else ():
        if seen.name in moved:
            read = [(port, holds[name]) for port, name in enumerate(seen.inputs) if name in holds]
            yield from ((Port(seen.name, port), each) for port, each in read)
            holds.update((output, read[0][1]) for output in seen.outputs if output and read)


def _public(finished: Finished, name: str) -> str:
    """The name under which callers know what the collapsed graph knows as `name`: a DequantizeLinear may stand
    between."""
    view = finished.view
    if name in view.outputs:
        return name
    record = next((each for each in finished.tensors if each.tensor == name), None)
    nodes = () if record is None else record.dequantizers
    written = (output for node in nodes for output in view.node(node).outputs)
    return next((output for output in written if output in view.outputs), name)


@dataclass
class _Holding:
    """`same` are the nodes that plan and file share, each with its operator in the file; `outputs` the names of
    the file's graph outputs in the collapsed graph, `by_tensor` the first pair on each tensor of the file."""

    asked: Asked
    finished: Finished
    records: Mapping[Port, QuantizedTensor]
    same: Mapping[str, str]
    outputs: Mapping[str, str]
    by_tensor: Mapping[str, QuantizedTensor]
    unmatched: int = 0
    said: set[Port] = field(default_factory=set)

    def all(self) -> Held:
        plan = self.asked.plan
        absent = [
            *(found for each in self.asked.tensors for found in self._tensor(each)),
            *(found for each in plan.weights for found in self._weight(each)),
            *(found for each in plan.biases for found in self._bias(each)),
            *self._groups(),
            *halves.absent(self.asked, self.finished, self.same),
        ]
        extra = (*self._extra(), *halves.extra(self.asked, self.finished, self.same))
        return Held(tuple(absent), extra, self.unmatched, bool(self.same))

    def _tensor(self, each: TensorPlan) -> Iterator[Difference]:
        """A pair: its readers have to read integers of its scheme."""
        here = [place for place in (self._place(each.tensor, reader) for reader in each.readers) if place is not None]
        self.said.update(here)
        known = {place: self.records[place] for place in here if place in self.records}
        if len(here) < len(each.readers):  # a rewrite for the target may have put other nodes here
            found_by_name = self.by_tensor.get(each.tensor)
            self.unmatched += found_by_name is None
            known |= {} if found_by_name is None else {Port("", -1, each.tensor): found_by_name}
        bare = [place for place in here if place not in self.records]
        if bare:
            readers = listed([place.words for place in bare])
            verb = "reads" if len(bare) == 1 else "read"
            what = f"the recipe asks for {each.scheme} on {shown(each.tensor)}, and {readers} {verb} floats"
            yield difference(self.asked, what, bare, each.tensor, _placed(each))
        found: dict[tuple[str, str, Origin], list[Port]] = {}
        for place, record in known.items():
            for told in self._otherwise(each, record):
                found.setdefault(told, []).append(place)
        for (asks, has, origin), places in found.items():
            what = f"the recipe asks for {asks} on {shown(each.tensor)}, and the file has {has}"
            yield difference(self.asked, what, places, each.tensor, origin)

    def _otherwise(self, each: TensorPlan, record: QuantizedTensor) -> Iterator[tuple[str, str, Origin]]:
        """What is asked and what the file has instead, with the line. An operator may take the integers found at run
        time less 128, as int8."""
        has, asks = record.parameters, str(each.scheme)
        if (each.calibration.method == AT_RUN_TIME) != (has.scale is None):
            how = ("a scale of its own", "a scale that is found while the model runs")
            yield asks, f"{words(has)} with {how[has.scale is None]}", each.origin
        elif has.scale is not None and (why := disagreement(each.scheme, record, None)):
            yield asks, why, each.origin
        elif (wanted := self.asked.by_hand.get(each.group)) is not None and not stands_for(wanted, has):
            yield (
                f"the range {covers(wanted.scale, wanted.zero_point, has.element)}",
                _range(has),
                each.calibration.origin,
            )

    def _weight(self, each: WeightPlan) -> Iterator[Difference]:
        place = self._place(each.tensor, Reader(each.node, each.port))
        self.unmatched += place is None
        if place is None:
            return
        self.said.add(place)
        record = self.records.get(place)
        # Weights of a dynamic build keep to guards that move their zero point.
        scheme = replace(each.scheme, symmetric=each.scheme.symmetric and self.asked.plan.mode != "dynamic")
        why = "floats" if record is None else disagreement(scheme, record, each.axis)
        if why:
            what = f"the recipe asks for weights in {each.scheme} at {shown(each.node)}, and the file has {why}"
            yield difference(self.asked, what, [place], each.tensor, each.origin)

    def _bias(self, each: BiasPlan) -> Iterator[Difference]:
        place = self._place(each.tensor, Reader(each.node, each.port))
        self.unmatched += place is None
        if place is None:
            return
        self.said.add(place)
        record = self.records.get(place)
        if record is None or record.parameters.element != "int32":
            has = "floats" if record is None else record.parameters.element
            what = f"the recipe's build stores the bias of {shown(each.node)} as int32, and the file has {has}"
            yield difference(self.asked, what, [place], each.tensor, each.origin)

    def _groups(self) -> Iterator[Difference]:
        """Tensors that are to share a scale: the file's have to be equal by value."""
        members: dict[str, list[TensorPlan]] = {}
        for each in self.asked.tensors:
            members.setdefault(each.group, []).append(each)
        for group in members.values():
            if len(group) > 1:
                yield from self._shared(group)

    def _shared(self, group: list[TensorPlan]) -> Iterator[Difference]:
        found: dict[str, list[tuple[TensorPlan, Port]]] = {}
        for each in group:
            places = (self._place(each.tensor, reader) for reader in each.readers)
            place = next((p for p in places if p is not None and p in self.records), None)
            if place is not None:
                found.setdefault(value_of(self.records[place].parameters), []).append((each, place))
        if len(found) < 2:
            return
        whole = max(found.values(), key=len)
        for others in found.values():
            if others is not whole:
                names = listed([each.tensor for each, _ in others])
                what = f"the recipe asks for one scale over {shown(whole[0][0].tensor)} and {names}"
                places_of = [place for _, place in others]
                first = others[0][0]
                yield difference(
                    self.asked, f"{what}, and the file has another one", places_of, first.tensor, _placed(first)
                )

    def _extra(self) -> Iterator[Difference]:
        """What reads integers without a decision, one for each tensor of the file."""
        marks = {node.node: node.origin for node in self.asked.plan.nodes}
        found: dict[int, tuple[QuantizedTensor, list[Port]]] = {}
        for place, record in self.records.items():
            known = place.node in self.same if place.node else place.output in self.outputs.values()
            if known and place not in self.said:
                found.setdefault(id(record), (record, []))[1].append(place)
        for record, places in found.values():
            readers = listed([place.words for place in places])
            verb = "reads" if len(places) == 1 else "read"
            what = f"{readers} {verb} {shown(record.tensor)} as {words(record.parameters)}"
            origin = marks.get(places[0].node, Origin("default"))
            yield difference(self.asked, f"{what}, and the recipe asks for floats there", places, record.tensor, origin)

    def _place(self, tensor: str, reader: Reader) -> Port | None:
        """Where to look in the file; None for a node or an output that it has not under that name."""
        if reader.node:
            return _port(reader, self.same[reader.node]) if reader.node in self.same else None
        return Port("", -1, self.outputs[tensor]) if tensor in self.outputs else None


def _port(reader: Reader, op: str) -> Port:
    """Where an operator of the file reads what a float operator of the plan reads there."""
    found = MULTIPLYING.get(op)
    if found is None:
        return Port(reader.node, reader.port)
    ports = {0: 0 if found.data is None else found.data.port, 1: found.weights[0].port}
    return Port(reader.node, ports.get(reader.port, reader.port))


def _range(has: Parameters) -> str:
    return "another one" if has.scale is None else covers(has.scale, has.zero_point, has.element)


def _placed(each: TensorPlan) -> Origin:
    """The line that put a pair here, or else the one that chose its scheme."""
    return each.placed if each.placed.line else each.origin
