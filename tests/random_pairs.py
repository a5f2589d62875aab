"""Q and DQ nodes at random places of random float graphs, as no plan of ours would put them, and nothing of ours used.

Pairs with and without zero points, in every type, doubled, shared by readers or one for each, between a tensor and some
of its readers; weights stored, in pairs, behind a Transpose; biases that fit and others; nodes that do nothing between.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
MOVERS = {"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Split", "Resize", "Flatten", "Gather"}
WEIGHTED = {"Conv": (0, 1), "Gemm": (1, 0), "MatMul": (1, 1), "ConvTranspose": (1, 1)}


@dataclass(frozen=True)
class Pair:
    """Names of the stored scale and zero point ("" for none), and the domain of Q and DQ."""

    scale: str
    zero: str
    domain: str = ""


@dataclass
class Pairs:
    """Puts pairs into `model`, a copy of one of `random_graphs`. `odd`: how likely what other tools seldom write is."""

    model: onnx.ModelProto
    seed: int
    odd: float = 0.15
    rng: random.Random = field(init=False)
    nodes: list[NodeProto] = field(init=False, default_factory=list)
    pairs: dict[str, Pair] = field(init=False, default_factory=dict)
    steps: dict[str, float] = field(init=False, default_factory=dict)
    count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed * 6151 + 11)
        self.usual = self.rng.choice([np.uint8] * 5 + [np.int8] * 3)
        self.symmetric = self.rng.random() < 0.3
        self.leave = self.rng.choice([0.0, 0.0, 0.05, 0.2, 0.5])
        self.opset = self.model.opset_import[0].version
        self.stored = {t.name: numpy_helper.to_array(t) for t in self.model.graph.initializer}
        self.outputs = {info.name for info in self.model.graph.output}
        self.palette = [self._step() for _ in range(3)]
        # Reading order: a tensor's readers come after its writer.
        self.reads: dict[str, list[tuple[int, int]]] = {}
        for index, node in enumerate(self.model.graph.node):
            for port, name in enumerate(node.input):
                self.reads.setdefault(name, []).append((index, port))

    def put(self) -> onnx.ModelProto:
        floats = self._floats()
        for info in self.model.graph.input:
            self._quantize(info.name)
        for node in self.model.graph.node:
            if node.op_type in WEIGHTED and self.rng.random() > self.leave / 2:
                self._weight(node)
            self.nodes.append(node)
            for name in node.output:
                if name in floats:
                    self._quantize(name, node)
        self._constants()
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        del self.model.graph.value_info[:]
        if MICROSOFT not in {each.domain for each in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        return self.model

    def _floats(self) -> set[str]:
        known = {info.name: info.type.tensor_type.elem_type for info in self.model.graph.value_info}
        known |= {info.name: info.type.tensor_type.elem_type for info in self.model.graph.output}
        return {name for name, kind in known.items() if kind == TensorProto.FLOAT}

    # --- small things -----------------------------------------------------------------------------------------------

    def _name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}__{self.count}"

    def _step(self) -> float:
        return float(np.float32(self.rng.uniform(0.01, 0.2)))

    def _constant(self, value: Any, stem: str) -> str:
        name = self._name(stem)
        self.stored[name] = np.asarray(value)
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _oddly(self, share: float = 1.0) -> bool:
        return self.rng.random() < self.odd * share

    def _type(self) -> Any:
        if not self._oddly(0.5):
            return self.usual
        return self.rng.choice([np.uint8, np.int8] + ([np.uint16, np.int16] if self.opset >= 21 else []))

    def _pair(self, kind: Any = None) -> Pair:
        kind = kind or self._type()
        step = self.rng.choice(self.palette) if self.rng.random() < 0.2 else self._step()
        shape = (1,) if self._oddly(0.5) else ()
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        zero = self.rng.choice([low, low, (low + high + 1) // 2, self.rng.randint(low, high)])
        if self.symmetric and kind == np.int8:
            zero = 0
        domain = MICROSOFT if self._oddly(0.3) else ""
        scale = self._constant(np.full(shape, step, np.float32), "scale")
        self.steps[scale] = step
        bare = self._oddly(0.4) and kind == np.uint8
        return Pair(scale, "" if bare else self._constant(np.full(shape, zero, kind), "zero"), domain)

    def _q(self, source: str, pair: Pair, **attrs: Any) -> str:
        return self._op("QuantizeLinear", [source, pair.scale, pair.zero], pair.domain, **attrs)

    def _dq(self, source: str, pair: Pair, **attrs: Any) -> str:
        return self._op("DequantizeLinear", [source, pair.scale, pair.zero], pair.domain, **attrs)

    def _op(self, op: str, inputs: list[str], domain: str = "", **attrs: Any) -> str:
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        output = self._name(f"{inputs[0]}_{op}")
        self.nodes.append(helper.make_node(op, inputs, [output], name=self._name(op), domain=domain, **attrs))
        return output

    # --- activations --------------------------------------------------------------------------------------------------

    def _quantize(self, tensor: str, writer: NodeProto | None = None) -> None:
        readers = list(self.reads.get(tensor, []))
        if self._left_out(tensor, readers) or self.rng.random() < self.leave:
            return
        readers = [each for each in readers if self.rng.random() > self.leave / 2]
        if not readers and tensor not in self.outputs:
            return
        source = self._idle(tensor) if self._oddly(0.4) else tensor
        pair = self._carried(writer) if writer is not None and writer.op_type in MOVERS else None
        pair = pair or self._pair()
        self.pairs[tensor] = pair
        integers = self._q(source, pair)
        if self._oddly(0.5):
            pair = self._pair(self.stored[pair.zero].dtype.type if pair.zero and not self._oddly() else None)
            integers = self._q(self._dq(integers, self.pairs[tensor]), pair)
            self.pairs[tensor] = pair
        self._read(tensor, source, integers, pair, readers)

    def _left_out(self, tensor: str, readers: list[tuple[int, int]]) -> bool:
        """Before a Relu or Clip that alone reads it, most of the time."""
        ops = [self.model.graph.node[index].op_type for index, _ in readers]
        return ops in (["Relu"], ["Clip"]) and tensor not in self.outputs and self.rng.random() < 0.85

    def _carried(self, mover: NodeProto) -> Pair | None:
        before = self.pairs.get(mover.input[0].split("__")[0]) or self.pairs.get(self._root(mover.input[0]))
        return before if self.rng.random() < 0.85 else None

    def _root(self, name: str) -> str:
        return name.split("_DequantizeLinear")[0].split("_QuantizeLinear")[0]

    def _idle(self, tensor: str) -> str:
        kind = self.rng.choice(["Identity", "Cast", "Mul", "Add"])
        if kind == "Identity":
            return self._op("Identity", [tensor])
        if kind == "Cast":
            return self._op("Cast", [tensor], to=TensorProto.FLOAT)
        value = np.float32(1 if kind == "Mul" else 0)
        return self._op(kind, [tensor, self._constant(value, "neutral")])

    def _read(self, tensor: str, source: str, integers: str, pair: Pair, readers: list[tuple[int, int]]) -> None:
        each, quantizers = self.rng.random() < 0.4, self._oddly()
        one = ""
        for index, port in readers:
            if quantizers and self.rng.random() < 0.5:
                integers = self._q(source, pair)
                one = ""
            if each or not one:
                one = self._dq(integers, pair)
            self.model.graph.node[index].input[port] = one
        if tensor in self.outputs and self.rng.random() < 0.5:
            self._write(tensor, integers, pair)

    def _write(self, tensor: str, integers: str, pair: Pair) -> None:
        """The graph's output comes from the integers, as floats or, seldom, as they are."""
        info = next(info for info in self.model.graph.output if info.name == tensor)
        if self._oddly():
            info.name = integers
            kind = self.stored[pair.zero].dtype if pair.zero else np.dtype(np.uint8)
            info.type.tensor_type.elem_type = helper.np_dtype_to_tensor_dtype(kind)
        else:
            info.name = self._dq(integers, pair)

    # --- constants ---------------------------------------------------------------------------------------------------

    def _weight(self, node: NodeProto) -> None:
        name = node.input[1]
        if name not in self.stored or self.stored[name].dtype != np.float32:
            return
        value = self.stored[name]
        axis = WEIGHTED[node.op_type][0]
        if node.op_type == "Gemm" and any(a.name == "transB" and a.i for a in node.attribute):
            axis = 0
        kind = self.rng.choice([np.int8] * 6 + [np.uint8])
        many = self.rng.random() < 0.5
        count = value.shape[axis]
        low = np.iinfo(kind).min
        scales = np.asarray([self._step() for _ in range(count)] if many else self._step(), np.float32)
        zeros = np.full(scales.shape, 0 if kind == np.int8 else 128, kind)
        pair = Pair(
            self._constant(scales, "wscale"),
            "" if self._oddly(0.5) and kind == np.uint8 else self._constant(zeros, "wzero"),
        )
        attrs = {"axis": axis} if many else {}
        if self.rng.random() < 0.25:
            node.input[1] = self._dq(self._q(name, pair, **attrs), pair, **attrs)
        else:
            codes = np.random.default_rng(self.seed + self.count).integers(low, low + 256, value.shape).astype(kind)
            node.input[1] = self._turned(node, codes, pair, attrs)
        self._bias(node, scales)

    def _turned(self, node: NodeProto, codes: Any, pair: Pair, attrs: dict[str, Any]) -> str:
        """The stored weight, dequantized; seldom stored the other way round and transposed."""
        if not (self._oddly(0.7) and codes.ndim == 2 and not attrs):
            return self._dq(self._constant(codes, "weight"), pair, **attrs)
        read = self._dq(self._constant(np.ascontiguousarray(codes.T), "weight"), pair)
        return self._op("Transpose", [read], perm=[1, 0])

    def _bias(self, node: NodeProto, scales: Any) -> None:
        if len(node.input) < 3 or node.input[2] not in self.stored or self.rng.random() < 0.5:
            return
        data = self.pairs.get(self._root(node.input[0]))
        if data is None:
            return
        steps = np.asarray(np.float32(self.steps[data.scale]) * scales, np.float32)
        if self._oddly():
            steps = steps * np.float32(self.rng.choice([1.001, 1.5, 0.25]))
        value = self.stored[node.input[2]]
        codes = np.rint(value / steps).astype(np.int32)
        scale = self._constant(steps, "bscale")
        zero = self._constant(np.zeros(steps.shape, np.int32), "bzero") if self.rng.random() < 0.5 else ""
        node.input[2] = self._dq(
            self._constant(codes, "bias"), Pair(scale, zero), **({"axis": 0} if steps.ndim else {})
        )

    def _constants(self) -> None:
        """Operands of additions and products: stored, seldom."""
        for node in list(self.nodes):
            if node.op_type not in ("Add", "Mul", "Where"):
                continue
            for port, name in enumerate(node.input):
                kept = name not in self.stored or self.stored[name].dtype != np.float32 or "neutral" in name
                if kept or self.rng.random() < 0.4:
                    continue
                pair = self._pair(self.usual)
                codes = np.full(self.stored[name].shape, 3, self.stored[pair.zero].dtype if pair.zero else np.uint8)
                place = next(i for i, each in enumerate(self.nodes) if each is node)
                behind, self.nodes = self.nodes[place:], self.nodes[:place]
                node.input[port] = self._dq(self._constant(codes, "operand"), pair)
                self.nodes += behind


def with_random_pairs(model: onnx.ModelProto, seed: int) -> onnx.ModelProto:
    """`model`, changed; the same for the same seed."""
    return Pairs(model, seed).put()
