"""Our own files with all metadata taken away: what is read of them is the plan, tensor for tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compile_tools import residual_net
from dynamic_tools import dynamic_head, everything
from plan_tools import HEAD, decided
from quantized import SmallPlan
from random_graphs import random_decisions, random_model
from seeds import few_of

from qdsl.calibrate import Ranges
from qdsl.capability import load as load_table
from qdsl.finished.flow import readers_of
from qdsl.finished.parameters import keyed
from qdsl.finished.reading import read
from qdsl.finished.records import Finished, Form, QuantizedTensor, Role
from qdsl.graph import Model, from_proto, load, to_bytes, to_proto
from qdsl.graph.moves import source
from qdsl.graph.view import GraphView
from qdsl.passes.insert_qdq import InsertQDQ, least_opset
from qdsl.passes.pipeline import canonicalise
from qdsl.passes.qdq_parameters import parameters, weight_key
from qdsl.quant import QParams, limits, weight_parameters
from qdsl.rewrite import run
from qdsl.spec import Granularity, Scheme
from qdsl.spec.plan import Plan, Reader, TensorPlan
from qdsl.targets.ort.emit import quantize

EXPORTS = sorted((Path(__file__).resolve().parent / "data").glob("yolov8_tiny_*.onnx"))
TABLE = load_table("ort_cpu")


def stripped(proto: onnx.ModelProto) -> Model:
    """A model without anything that it says of itself."""
    for holder in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        del holder.metadata_props[:]
        holder.doc_string = ""
    proto.producer_name = proto.producer_version = proto.graph.name = ""
    return from_proto(proto)


class Compared:
    """What is read of a file, beside the plan that it was made by. `view` is the graph that the plan speaks of."""

    def __init__(self, found: Finished, plan: Plan | SmallPlan, view: GraphView) -> None:
        self.found, self.plan, self.view = found, plan, view
        self.by_reader: dict[Reader, QuantizedTensor] = {}
        for each in found.tensors:
            for reader in self._readers(each):
                assert reader.node == "" or reader not in self.by_reader
                self.by_reader[reader] = each
        self.used: set[int] = set()

    def tensors(self, groups: Mapping[str, QParams]) -> None:
        """Every pair of the plan, with its readers; equal keys where there is one group."""
        keys: dict[str, str] = {}
        for plan in self.plan.tensors:
            record = self._pair(plan)
            self.used.add(id(record))
            assert set(self._readers(record)) == set(plan.readers), plan.tensor
            of_scheme(record, plan.scheme, None, (), narrowed=not self._inside(plan))
            key = keyed(replace(record.parameters, low=None, high=None)).key
            assert keys.setdefault(plan.group, key) == key, plan.tensor
            same(record, groups[plan.group])

    def _pair(self, plan: TensorPlan) -> QuantizedTensor:
        """The record that the plan's first reader reads; a graph output may have taken over the tensor's name."""
        readers = [reader for reader in plan.readers if reader.node and reader.port >= 0]
        if readers:
            return self.by_reader[readers[0]]
        names = (plan.tensor, f"{plan.tensor}_before")
        (found,) = [each for each in self.found.tensors if each.tensor in names and Reader("", -1) in each.readers]
        return found

    def _inside(self, plan: TensorPlan) -> bool:
        """Whether the values were narrowed before: nothing narrows them again."""
        writer = self.view.producer(plan.tensor)
        origin = None if writer is None else source(writer)
        return any(each.tensor == origin and each.group == plan.group for each in self.plan.tensors)

    def _readers(self, record: QuantizedTensor) -> list[Reader]:
        """The readers that the plan knows: passes put nodes of their own (a Cast, a Max) between them and the value."""
        known, waiting = [], list(record.readers)
        while waiting:
            reader = waiting.pop()
            if reader.node == "" or reader.node in self.view.node_index:
                known.append(reader)
            else:
                node = self.found.view.node(reader.node)
                waiting += [each for name in node.outputs for each in readers_of(self.found.view, name)]
        return known

    def weights(self, found: Mapping[Any, QParams]) -> None:
        for plan in self.plan.weights:
            record = self.by_reader[Reader(plan.node, plan.port)]
            self.used.add(id(record))
            assert (record.role, record.form) == (Role.WEIGHT, Form.STORED), plan.tensor
            key = weight_key(plan, self.view)
            of_scheme(record, plan.scheme, key.axis, self.view.tensors[plan.tensor].shape or ())
            same(record, found[key])

    def biases(self) -> None:
        for plan in self.plan.biases:
            record = self.by_reader[Reader(plan.node, plan.port)]
            self.used.add(id(record))
            assert (record.role, record.parameters.element) == (Role.BIAS, "int32"), plan.tensor
            activation = self.by_reader[Reader(plan.node, 0)].parameters.scale
            weight = self.by_reader[Reader(plan.node, plan.weight_port)].parameters.scale
            assert np.allclose(record.parameters.scale, activation * weight, rtol=1e-6)

    def nothing_else(self) -> None:
        assert [each.tensor for each in self.found.tensors if id(each) not in self.used] == []
        assert not self.found.faults


def of_scheme(
    record: QuantizedTensor, scheme: Scheme, axis: int | None, shape: Sequence[Any], *, narrowed: bool = True
) -> None:
    """What the scheme says. One channel is one scale, however it is written."""
    how = record.parameters
    assert how.element == scheme.dtype.name, record.tensor
    several = axis is not None and (shape[axis] != 1 or scheme.granularity is Granularity.PER_BLOCK)
    wanted = scheme.granularity if several else Granularity.PER_TENSOR
    assert (how.granularity, how.axis, how.block) == (wanted, axis if several else None, scheme.block), record.tensor
    held = scheme.emulated_bits is not None and narrowed and record.form is Form.PAIR
    assert (how.low, how.high) == (limits(scheme) if held else (None, None)), record.tensor


def same(record: QuantizedTensor, params: QParams) -> None:
    """The scales and zero points that the rewrite was given are those of the file, to the bit."""
    how = record.parameters
    assert how.scale is not None
    assert np.array_equal(how.scale.reshape(-1), params.scale.reshape(-1)), record.tensor
    zero = np.zeros_like(params.zero_point) if how.zero_point is None else how.zero_point
    assert np.array_equal(zero.reshape(-1), params.zero_point.reshape(-1)), record.tensor


def compared(model: Model, made: onnx.ModelProto, plan: Plan | SmallPlan, ranges: Any) -> Compared:
    """Everything of a plan of pairs against what is read of the file."""
    view = model.view()
    wanted = parameters(plan, ranges, view, model)
    result = Compared(read(stripped(made)), plan, view)
    result.tensors(wanted.groups)
    result.weights(wanted.weights)
    result.biases()
    result.nothing_else()
    return result


def ranges_of(view: GraphView, seed: int = 0) -> Ranges:
    """Another range for each tensor."""
    draw = np.random.default_rng(seed)
    low = {name: float(-draw.uniform(0.5, 4)) for name in view.tensors}
    return Ranges(low, {name: float(draw.uniform(0.5, 4)) for name in view.tensors}, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(0, 300, 30), 1))
def test_random_decisions(first: int) -> None:
    looked = 0
    for seed in range(first, first + 30):
        model = from_proto(random_model(seed))
        view = model.view()
        chosen = random_decisions(view, TABLE, seed)
        plan = SmallPlan(chosen.tensors, chosen.weights, chosen.biases)
        if least_opset(plan) > model.opset:
            continue
        ranges = ranges_of(view, seed)
        made = model.copy()
        run([InsertQDQ(plan, ranges)], made)
        compared(model, to_proto(made), plan, ranges)
        looked += 1
    assert looked > 5


SIXTEEN = "layers all { activations uint16 storage_only; weights int16 storage_only }\n"
STATIC = {
    "uint8": (HEAD, ""),
    "int8": (HEAD.replace("uint8 affine", "int8 symmetric"), ""),
    "per tensor": (HEAD.replace("per_channel", "per_tensor"), ""),
    "16 bits": (HEAD, SIXTEEN),
    "int4 weights": (HEAD, "layers op Gemm { weights int4 storage_only }\n"),
    "6 bits": (HEAD.replace("uint8 affine", "6 bit affine"), ""),
    "shared": (HEAD, "place { share scale across inputs of op Concat }\n"),
    "kept": (HEAD, "keep op [Add, Concat] in float32\n"),
    "float16": (HEAD, "keep op [Add, Concat] in float16\n"),
}


@pytest.mark.parametrize("name", STATIC)
def test_static_builds(name: str) -> None:
    head, rules = STATIC[name]
    model = from_proto(residual_net())
    canonicalise(model)
    plan = decided(model.view(), rules, head=head).plan
    ranges = ranges_of(model.view())
    made, _ = quantize(model, plan, ranges)
    compared(model, onnx.load_from_string(to_bytes(made)), plan, ranges)


# Lowerings that write other nodes, with pairs of their own, in the place of planned ones.
REWRITING = {"hard_activations", "concat_integers", "softmax_last", "channels_last"}


@pytest.mark.slow
@pytest.mark.parametrize("first", few_of(range(500, 600, 20), 1))
def test_random_plans(first: int) -> None:
    looked = 0
    for seed in range(first, first + 20):
        model = from_proto(random_model(seed))
        canonicalise(model)
        plan = decided(model.view(), head=HEAD).plan
        ranges = ranges_of(model.view(), seed)
        made, trace = quantize(model, plan, ranges)
        if REWRITING.isdisjoint(step.word for step in trace.steps if step.outcome.fired):
            compared(model, onnx.load_from_string(to_bytes(made)), plan, ranges)
            looked += 1
    assert looked > 4


@pytest.mark.slow
@pytest.mark.parametrize("path", few_of(EXPORTS, 1), ids=lambda path: path.stem)
def test_a_detector(path: Path) -> None:
    model = load(path)
    canonicalise(model)
    plan = decided(model.view(), head=HEAD).plan
    ranges = ranges_of(model.view())
    made, _ = quantize(model, plan, ranges)
    compared(model, onnx.load_from_string(to_bytes(made)), plan, ranges)
    assert len(plan.tensors) > 200


WEIGHTS = {
    "per channel": "layers all { weights int8 storage_only }\n",
    "per tensor": "layers all { weights int8 per_tensor storage_only }\n",
    "blocks": "layers op Gemm { weights int4 per_block 16 }\n",
    "blocks and a zero point": "layers op Gemm { weights uint4 affine per_block 16 storage_only }\n",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_alone(name: str) -> None:
    """Integer weights beside float activations; a Gemm's weight may be stored turned round."""
    proto = residual_net()
    head = 'recipe demo\nmodel onnx "demo.onnx"\nquantize float { }\ntarget ort\n'
    proto.opset_import[0].version, proto.ir_version = 21, 10
    model = from_proto(proto)
    canonicalise(model)
    view = model.view()
    plan = decided(view, WEIGHTS[name], head=head).plan
    ranges = Ranges({}, {}, 0, 0)
    wanted = parameters(plan, ranges, view, model).weights
    made, _ = quantize(model, plan, ranges)
    result = Compared(read(stripped(onnx.load_from_string(to_bytes(made)))), plan, view)
    assert plan.weights and not plan.tensors
    for each in plan.weights:
        record = result.by_reader[Reader(each.node, each.port)]
        result.used.add(id(record))
        key = weight_key(each, view)
        turned = made.lazy(record.stored).shape != view.tensors[each.tensor].shape
        axis = None if key.axis is None else 1 - key.axis if turned else key.axis
        of_scheme(record, each.scheme, axis, made.lazy(record.stored).shape)
        scale, given = record.parameters.scale, wanted[key].scale
        assert scale is not None
        assert np.array_equal(scale.T if turned and scale.ndim == 2 else scale.reshape(given.shape), given)
    result.nothing_else()
    assert "weight_only" in [dialect.name for dialect in result.found.dialects]


@pytest.mark.parametrize("settings", ["weights 8 bit; activations uint8", "weights int8; activations uint8"])
def test_dynamic_builds(settings: str) -> None:
    model = from_proto(residual_net())
    canonicalise(model)
    view = model.view()
    plan = decided(view, everything(), head=dynamic_head(settings)).plan
    made, _ = quantize(model, plan, Ranges({}, {}, 0, 0))
    result = Compared(read(stripped(onnx.load_from_string(to_bytes(made)))), plan, view)
    assert plan.tensors and plan.weights
    for tensor in plan.tensors:
        for reader in tensor.readers:
            record = result.by_reader[Reader(reader.node, 0)]
            result.used.add(id(record))
            assert (record.tensor, record.form) == (tensor.tensor, Form.DYNAMIC)
            assert set(result._readers(record)) <= set(tensor.readers)
    for weight in plan.weights:
        record = result.by_reader[Reader(weight.node, 1)]
        result.used.add(id(record))
        key = weight_key(weight, view)
        params = weight_parameters(model.values(weight.tensor), weight.scheme, weight.axis, weight.tensor, weight.guard)
        turned = made.lazy(record.stored).shape != view.tensors[weight.tensor].shape
        axis = None if key.axis is None else 1 - key.axis if turned else key.axis
        assert (record.role, record.parameters.element) == (Role.WEIGHT, params.dtype.name)
        assert record.parameters.axis == axis
        assert np.allclose(record.parameters.scale.reshape(-1), params.scale.reshape(-1), rtol=1e-6)
    result.nothing_else()
