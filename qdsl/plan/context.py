"""What every step of planning looks at: the graph, the target's rows and habits, the cascade, and where to report."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from qdsl.calibrate.cache_file import CalibrationCache
from qdsl.capability import ABSORBED, Capability, Row
from qdsl.cascade.cascade import Cascade, Resolved
from qdsl.cascade.rule_words import Origins
from qdsl.cascade.schemes import Chosen, Schemes
from qdsl.diag import Diagnostics
from qdsl.graph.view import GraphView, NodeView
from qdsl.graph.walk import only_reader, only_writer
from qdsl.predict.bounds import Interval, bounds
from qdsl.select.selection import Selection
from qdsl.spec.plan import Origin
from qdsl.targets.base import Runtime


@dataclass(frozen=True)
class Context:
    """Shared by the steps of one plan. `rows` holds the table's row per node, `kept` the `keep` rule
    (or the choice of an alternative) per kept node, `shared` the nodes that a choice gives one scale. `cpus` are the
    kinds of CPU on which sums must be exact; `by_option`: by the runtime's own option, not by the stored weights.
    `half`: what says that float16 is the type of everything that is not quantized; None where float32 is.
    `caches` are the calibration caches that the recipe names, by their path, without those that cannot be read."""

    view: GraphView
    capability: Capability
    runtime: Runtime
    cascade: Cascade
    schemes: Schemes
    selection: Selection
    origins: Origins
    diags: Diagnostics
    rows: tuple[Row, ...]
    kept: dict[int, Origin]
    shared: tuple[int, ...] = ()
    cpus: frozenset[str] = frozenset()
    by_option: bool = False
    half: Origin | None = None
    caches: Mapping[str, CalibrationCache] = field(default_factory=dict)
    _folds: dict[str, int | None] = field(default_factory=dict, repr=False)

    def quantizable(self, tensor: str) -> bool:
        """A computed float32 tensor (or graph input): only those are stored as integers."""
        found = self.view.tensors.get(tensor)
        return found is not None and found.kind != "constant" and found.dtype == "float32"

    def is_float32(self, tensor: str) -> bool:
        """Known to hold float32, whatever writes it."""
        found = self.view.tensors.get(tensor)
        return found is not None and found.dtype == "float32"

    def data_ports(self, node: NodeView) -> tuple[int, ...]:
        """Ports that read a quantizable tensor."""
        return tuple(port for port, name in enumerate(node.inputs) if name and self.quantizable(name))

    def is_heavy(self, node: int) -> bool:
        """The operators that integers are for: those with weights."""
        return self.rows[node].computes and bool(self.rows[node].weights)

    @cached_property
    def order(self) -> dict[str, int]:
        """Tensors by their place in the graph: inputs first, then as they are written."""
        names = [*self.view.inputs, *(name for node in self.view.nodes for name in node.outputs if name)]
        return {name: i for i, name in enumerate(dict.fromkeys(names))}

    @cached_property
    def bounds(self) -> Mapping[str, Interval]:
        """What each tensor can hold, from the graph alone."""
        return bounds(self.view)

    @cached_property
    def skips(self) -> Mapping[int, int]:
        """The input port of each residual addition that the skip connection enters."""
        from qdsl.graph.structure import residual_skips

        return residual_skips(self.view)

    def folded_owner(self, tensor: str) -> int | None:
        """The node that an activation (Relu, Clip) writing `tensor` folds into: its only neighbour upstream."""
        if tensor not in self._folds:
            self._folds[tensor] = self._owner(tensor)
        return self._folds[tensor]

    def folded(self, tensor: str) -> str | None:
        """What the activation writes that folds into the writer of `tensor`; None where none does."""
        reader = only_reader(self.view, tensor)
        if reader is None or reader.inputs[0] != tensor or not reader.outputs:
            return None
        return reader.outputs[0] if self.folded_owner(reader.outputs[0]) is not None else None

    def _owner(self, tensor: str) -> int | None:
        writer = self.view.producer(tensor)
        if writer is None or self.rows[writer.index].kind != ABSORBED or not writer.inputs:
            return None
        owner = only_writer(self.view, writer.inputs[0])
        return owner.index if owner is not None and writer.op in self.rows[owner.index].absorbs else None

    def speakers(self, tensor: str, quantized: Container[str]) -> tuple[int, ...]:
        """The nodes whose rules speak of `tensor`: its writer, and the node that the writer folds into."""
        found = self.view.tensors[tensor].producer
        if found is None:
            return ()
        owner = self.folded_owner(tensor)
        if owner is None or self.view.nodes[found].inputs[0] in quantized:
            return (found,)
        return (owner, found)

    def asked(self, what: str, tensor: str, speakers: tuple[int, ...]) -> Resolved:
        """What the recipe says of the setting `what` for `tensor`."""
        return self.cascade.resolve(what, self.cascade.rules(speakers, tensor))

    def activation(self, tensor: str, speakers: tuple[int, ...]) -> Chosen:
        return self.schemes.activations(self.asked("activations", tensor, speakers))

    def weight(self, node: int) -> Chosen:
        return self.schemes.weights(self.cascade.resolve("weights", self.cascade.node_rules[node]))

    def stands_alone(self, node: int) -> bool:
        """Whether the weights of `node` are of a type that runs beside float activations alone, in any build."""
        scheme = self.weight(node).scheme if self.rows[node].weights else None
        return scheme is not None and self.capability.stands_alone(scheme.dtype)
