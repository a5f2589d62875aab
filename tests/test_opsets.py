"""Models of every opset that is taken: raised where the recipe needs it or gains by it, and the same model still."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from compile_tools import HEAD, project
from onnx import TensorProto, helper, numpy_helper

import qdsl
import qdsl.graph
from qdsl.api import TargetResult
from qdsl.diag import QdslError
from qdsl.work.prepared import prepare, read

STATIC = HEAD
DYNAMIC = (
    HEAD[: HEAD.index("quantize")] + "quantize dynamic { weights 8 bit }\nlayers all { weights 8 bit }\ntarget ort\n"
)
HALF = HEAD[: HEAD.index("quantize")] + "quantize float {}\nkeep op Conv in float16\ntarget ort\n"
OLD = range(7, 13)


def net(
    opset: int, *nodes: onnx.NodeProto, last: str = "r", typed: bool = True, **constants: object
) -> onnx.ModelProto:
    """x -> conv -> c, the nodes given, `last` -> conv -> y, in the form of files of that opset."""
    draw = np.random.default_rng(0)
    values = {"w": draw.normal(size=(4, 3, 3, 3)), "v": draw.normal(size=(4, 4, 1, 1))}
    stored = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
    stored += [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    if opset < 9:  # of IR version 3: each constant is an input, too
        inputs += [helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in stored]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None) if typed else onnx.ValueInfoProto(name="y")
    first = helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=[1] * 4)
    end = helper.make_node("Conv", [last, "v"], ["y"], name="end")
    graph = helper.make_graph([first, *nodes, end], "net", inputs, [output], stored)
    domains = sorted({node.domain for node in nodes} - {""})
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=3 if opset < 9 else 7)


def pooled(opset: int) -> onnx.ModelProto:
    """With operators that changed on the way to opset 12."""
    nodes = [
        helper.make_node("Clip", ["c"], ["k"], name="clip", min=0.0, max=6.0)
        if opset < 11
        else helper.make_node("Clip", ["c", "zero", "six"], ["k"], name="clip"),
        helper.make_node("MaxPool", ["k"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Softmax", ["p"], ["s"], name="soft"),
        helper.make_node("Dropout", ["s"], ["r"], name="drop"),
    ]
    constants = {} if opset < 11 else {"zero": np.float32(0), "six": np.float32(6)}
    return net(opset, *nodes, **constants)


def upsampled(opset: int) -> onnx.ModelProto:
    scales = [1.0, 1.0, 2.0, 2.0]
    if opset < 9:
        return net(opset, helper.make_node("Upsample", ["c"], ["r"], name="up", mode="nearest", scales=scales))
    op = "Upsample" if opset == 9 else "Resize"
    inputs = ["c", "", "s"] if opset > 12 else ["c", "roi", "s"] if opset > 10 else ["c", "s"]
    constants = {"s": np.float32(scales), **({"roi": np.zeros(0, np.float32)} if "roi" in inputs else {})}
    return net(opset, helper.make_node(op, inputs, ["r"], name="up", mode="nearest"), **constants)


def compiled(folder: Path, proto: onnx.ModelProto, head: str = STATIC) -> TargetResult:
    done = qdsl.compile(project(folder, head=head, proto=proto), out=folder / "build", measure=False, lock=False)
    (target,) = done.targets
    assert target.verification.as_predicted
    return target


def outputs(data: bytes) -> np.ndarray:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    feed = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(np.float32)
    return np.asarray(ort.InferenceSession(data, options).run(None, {"x": feed})[0])


@pytest.mark.parametrize("opset", OLD)
def test_a_pool_of_an_old_opset_runs_in_integers(opset: int, tmp_path: Path) -> None:
    target = compiled(tmp_path, pooled(opset))
    assert target.emitted.opset == 12
    (pool,) = (node for node in target.plan.nodes if node.node == "pool")
    assert (pool.prediction.runs, pool.prediction.kernel) == ("integer", "MaxPool")


@pytest.mark.parametrize("build", [pooled, upsampled])
@pytest.mark.parametrize("opset", OLD)
def test_what_is_planned_is_the_model_that_was_given(opset: int, build: object, tmp_path: Path) -> None:
    assert callable(build)
    proto = build(opset)
    model = prepare(read(project(tmp_path, proto=proto), {})).model
    assert model.opset >= 10
    np.testing.assert_allclose(
        outputs(qdsl.graph.to_bytes(model)), outputs(proto.SerializeToString()), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("head", [DYNAMIC, HALF])
@pytest.mark.parametrize("opset", [7, 9, 10])
def test_other_modes_take_old_opsets_too(opset: int, head: str, tmp_path: Path) -> None:
    target = compiled(tmp_path, pooled(opset), head)
    assert target.emitted.opset >= (11 if head == DYNAMIC else 10)


@pytest.mark.parametrize("head", [STATIC, DYNAMIC, HALF])
@pytest.mark.parametrize("opset", [8, 9, 10, 15])
def test_maps_that_are_made_larger(opset: int, head: str, tmp_path: Path) -> None:
    compiled(tmp_path, upsampled(opset), head)


def test_a_model_that_gains_nothing_keeps_its_opset(tmp_path: Path) -> None:
    assert compiled(tmp_path, net(11, helper.make_node("Relu", ["c"], ["r"], name="relu"))).emitted.opset == 11


def test_blocks_raise_the_model_before_it_is_planned(tmp_path: Path) -> None:
    rules = 'layers "end" { weights int4 per_block 16 storage_only }\n'
    target = compiled(tmp_path, pooled(9), HEAD.replace("target ort", f"{rules}target ort"))
    assert target.emitted.opset == 21
    assert target.plan.nodes


@pytest.mark.parametrize("head", [STATIC, DYNAMIC])
def test_what_cannot_be_raised_is_an_error_of_the_plan(head: str, tmp_path: Path) -> None:
    norm = helper.make_node("BatchNormalization", ["c", "k", "k", "k", "k"], ["r"], name="norm", spatial=0)
    recipe = project(tmp_path, head=head, proto=net(8, norm, k=np.ones((4, 8, 8), np.float32)))
    with pytest.raises(
        QdslError, match=r"model-upgrade.*uses opset 8 and cannot be raised to 1[01]: Attribute spatial"
    ):
        qdsl.plan(recipe)


@pytest.mark.parametrize("head", [STATIC, DYNAMIC])
def test_an_output_may_have_no_type(head: str, tmp_path: Path) -> None:
    """Nobody can infer what is behind an operator of another domain; ONNX Runtime asks for no type."""
    gelu = helper.make_node("Gelu", ["c"], ["r"], name="gelu", domain="com.microsoft")
    rules = "layers all { weights 8 bit }\n" if head == STATIC else ""
    compiled(tmp_path, net(17, gelu, typed=False), head.replace("target ort", f"{rules}target ort"))


def test_an_invalid_model_is_found_before_anything_is_measured(tmp_path: Path) -> None:
    proto = net(17, helper.make_node("Relu", ["c"], ["r"], name="relu", slope=0.5))
    with pytest.raises(QdslError, match=r"artifact-invalid.*checker refuses demo.onnx, and would refuse"):
        qdsl.plan(project(tmp_path, proto=proto))
