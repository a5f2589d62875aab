"""Files to audit, made by hand, and what rules find in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from qdsl.auditing.audience import audience
from qdsl.auditing.finding import Finding
from qdsl.auditing.index import rules
from qdsl.auditing.rule import Audited
from qdsl.capability import load
from qdsl.finished.collapse import collapse
from qdsl.finished.reading import read
from qdsl.graph import Model, from_proto

EXACT = frozenset({"x86_vnni", "arm_dotprod"})  # the kinds of CPU on which all sums are exact
EVERY = frozenset(cpu.name for cpu in load("ort_cpu").cpus)


def audited(model: Model | ModelProto, target: str = "ort", *, cpus: frozenset[str] = EXACT) -> Audited:
    """What rules look at, as `audit` has it for the target."""
    finished = read(from_proto(model) if isinstance(model, ModelProto) else model)
    seen = audience(target)
    runs = seen.runs(finished, collapse(finished))
    return Audited(finished, collapse(finished), target, seen.capability, runs, cpus)


def found(model: Model | ModelProto | Audited, target: str = "ort") -> list[Finding]:
    """What all rules of the target find."""
    seen = model if isinstance(model, Audited) else audited(model, target)
    return [finding for rule in rules(seen.target) for finding in rule.check(seen)]


def told(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """Rule and place of each."""
    return {(each.rule, each.place.name) for each in findings}


def named(finding: Finding) -> set[str]:
    """The nodes and tensors that a finding speaks of."""
    return {place.name for place in (finding.place, *finding.also)}


class File:
    """A QDQ file from its nodes: `x` [1, 4, 8, 8] is its input. Names follow the tensors: `conv_q`, `conv_dq`."""

    def __init__(self, *, opset: int = 17, kind: Any = np.uint8, zero: int = 0) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self.opset, self.kind, self.zero = opset, kind, zero
        self.domains: list[str] = []

    def node(self, op: str, *inputs: str, name: str, domain: str = "", **attributes: Any) -> str:
        """A node that writes a tensor of its own name."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"n_{name}", domain=domain, **attributes))
        if domain:
            self.domains.append(domain)
        return name

    def several(self, op: str, *inputs: str, name: str, outputs: int, **attributes: Any) -> str:
        """A node of several outputs; the first of them."""
        names = [name, *(f"{name}_{at}" for at in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n_{name}", **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants[name] = np.asarray(value)
        return name

    def quantize(
        self, tensor: str, *, scale: float = 0.05, zero: int | None = None, kind: Any = None, by: str = "q"
    ) -> str:
        """A QuantizeLinear; the tensor of its integers. `by` tells several of one tensor apart."""
        element = kind or self.kind
        names = [self.constant(f"{tensor}_{by}_s", np.float32(scale))]
        names.append(self.constant(f"{tensor}_{by}_z", element(self.zero if zero is None else zero)))
        return self.node("QuantizeLinear", tensor, *names, name=f"{tensor}_{by}")

    def dequantize(self, integers: str, *, name: str = "") -> str:
        """A DequantizeLinear with the parameters of the QuantizeLinear that wrote `integers`."""
        written = next(each for each in self.nodes if each.output[0] == integers)
        return self.node("DequantizeLinear", integers, *written.input[1:], name=name or f"{integers}_dq")

    def pair(self, tensor: str, **parameters: Any) -> str:
        """A pair; what the DequantizeLinear writes."""
        return self.dequantize(self.quantize(tensor, **parameters))

    def weight(self, name: str, *shape: int, codes: Any = None, element: Any = np.int8) -> str:
        """A stored weight, one scale per tensor; what its DequantizeLinear writes."""
        draw = np.random.default_rng(len(self.constants))
        values = draw.integers(-127, 128, shape) if codes is None else codes
        self.constant(name, np.asarray(values).astype(element))
        names = [self.constant(f"{name}_s", np.float32(0.01)), self.constant(f"{name}_z", element(0))]
        return self.node("DequantizeLinear", name, *names, name=f"{name}_dq")

    def floats(self, name: str, *shape: int) -> str:
        return self.constant(name, np.random.default_rng(1).standard_normal(shape).astype(np.float32))

    def conv(self, data: str, *, name: str, weight: str = "", inside: int = 4) -> str:
        """A 1x1 Conv of 4 channels; its weight is stored in integers unless one is given."""
        return self.node("Conv", data, weight or self.weight(f"{name}_w", 4, inside, 1, 1), name=name)

    def give(self, *tensors: str) -> ModelProto:
        """The model, with these outputs."""
        stored = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in tensors]
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])
        graph = helper.make_graph(self.nodes, "file", [given], outputs, stored)
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(each, 1) for each in self.domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)
