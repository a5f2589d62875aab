"""The executor with gradients: what it runs, what it keeps, what it says it lacks, and the gradients themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper, load
from train_tools import assert_gradients, assert_same, by_runtime, floats, model_of

from qdsl.diag import QdslError
from qdsl.graph import from_proto
from qdsl.train import lacking
from qdsl.train.extra import require_torch


def net() -> ModelProto:
    """A small classifier of any batch size."""
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("HardSwish", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    values = {"w": floats(1, 4, 3, 3, 3), "b": floats(2, 4), "g": floats(3, 4, 4)}
    model = model_of(nodes, {"x": floats(0, 2, 3, 8, 8)}, ["y"], values)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    return model


def test_lacks_are_told_all_at_once_without_torch() -> None:
    x = floats(0, 2, 3, 4, 4)
    nodes = [
        helper.make_node("Hardmax", ["x"], ["a"]),
        helper.make_node("Resize", ["a", "", "", "s"], ["b"], antialias=1, mode="linear"),
        helper.make_node("MaxPool", ["x"], ["c", "i"], kernel_shape=[1, 1]),
    ]
    model = model_of(nodes, {"x": x}, ["b", "c"], {"s": np.array([2, 3, 8, 8], np.int64)})
    assert [lack.what for lack in lacking(model)] == ["Hardmax", "Resize with antialias 1", "MaxPool with output 1"]
    assert lacking(net()) == ()


def test_the_error_names_every_operator_and_its_nodes() -> None:
    pytest.importorskip("torch")
    from qdsl.train import Executor

    nodes = [helper.make_node(op, [a], [b], name=op) for op, a, b in (("Hardmax", "x", "a"), ("Det", "a", "b"))]
    with pytest.raises(QdslError) as caught:
        Executor(model_of(nodes, {"x": floats(0, 2, 2)}, ["b"]))
    assert [one.code for one in caught.value.diagnostics] == ["executor-lacks"] * 2
    assert "Det: `Det`" in caught.value.diagnostics[0].headline


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdsl.train.extra.find_spec", lambda name: None)
    with pytest.raises(QdslError, match="torch-absent") as caught:
        require_torch()
    assert "qdsl-compiler[train]" in caught.value.diagnostics[0].help[0]


def test_any_tensor_may_be_asked_for_and_given() -> None:
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    x = floats(0, 2, 3, 8, 8)
    executor = Executor(from_proto(net()))
    whole = executor.run({"x": x}, ["c", "y", "w"])
    assert torch.equal(whole["w"], executor.parameters["w"])
    again = executor.run({"c": whole["c"]}, ["y"])  # nothing before it runs: there is no x
    assert torch.equal(again["y"], whole["y"])
    with pytest.raises(ValueError, match="no values for x"):
        executor.run({}, ["y"])
    with pytest.raises(ValueError, match="no values for z"):
        executor.run({"x": x}, ["z"])


def test_batches_of_any_size() -> None:
    pytest.importorskip("torch")
    for batch in (1, 3):
        assert_same(net(), {"x": floats(batch, batch, 3, 8, 8)})


def test_more_samples_than_a_graph_is_written_for() -> None:
    """A shape that begins with the samples is taken for as many as there are; what would mix them is refused."""
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    x = floats(0, 1, 4, 3, 2)
    shapes = {"one": [1, 2, -1], "two": [1, 2, 2, 6], "rows": [-1, 6], "mixed": [4, -1], "bias": [1, 4, 1, 1]}
    constants = {name: np.array(shape, np.int64) for name, shape in shapes.items()}
    nodes = {
        "y": [
            helper.make_node("Reshape", ["b", "bias"], ["c"]),  # no samples in it
            helper.make_node("Add", ["x", "c"], ["t"]),
            helper.make_node("Reshape", ["t", "two"], ["u"]),
            helper.make_node("Transpose", ["u"], ["v"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", ["v", "one"], ["y"]),
        ],
        "z": [helper.make_node("Reshape", ["x", "mixed"], ["z"])],
        "m": [helper.make_node("ReduceMax", ["x", "first"], ["m"])],
    }
    constants |= {"b": floats(1, 4), "first": np.array([0], np.int64)}
    made = {name: model_of(some, {"x": x}, [name], constants) for name, some in nodes.items()}
    for name, shape in (("y", (1, 2, 12)), ("m", (1, 4, 3, 2))):
        made[name].graph.output[0].CopyFrom(helper.make_tensor_value_info(name, 1, shape))
    three = floats(2, 3, 4, 3, 2)
    executor = Executor(made["y"])
    single = [executor.run({"x": three[at : at + 1]})["y"] for at in range(3)]
    assert torch.equal(executor.run({"x": three})["y"], torch.cat(single))
    inside = executor.run({"x": three}, ["t"])  # the same where a tensor within the graph is given
    assert torch.equal(executor.run(inside)["y"], torch.cat(single))
    for name, said in (("z", "written for 1 samples, and there are 3"), ("m", "1 rows of 3 samples")):
        with pytest.raises(QdslError, match=said):
            Executor(made[name]).run({"x": three})


def test_gradients_are_those_of_finite_differences() -> None:
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    executor = Executor(net(), double=True)
    learned = executor.differentiable(["w", "g"])
    assert not executor.parameters["b"].requires_grad
    x = torch.from_numpy(floats(0, 2, 3, 8, 8)).double().requires_grad_()

    def loss() -> torch.Tensor:
        y = executor.run({"x": x})["y"]
        return (y * y).sum()

    assert_gradients(loss, {"x": x, **learned})


def test_second_derivatives() -> None:
    """What the Hessian gives for a direction is the difference of gradients along it."""
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    executor = Executor(net(), double=True)
    weight, x = executor.differentiable(["w"])["w"], floats(0, 2, 3, 8, 8)
    direction = torch.from_numpy(floats(5, *weight.shape)).double()

    def gradient(create_graph: bool = False) -> torch.Tensor:
        y = executor.run({"x": x})["y"]
        return torch.autograd.grad((y**2).sum(), weight, create_graph=create_graph)[0]

    (found,) = torch.autograd.grad((gradient(create_graph=True) * direction).sum(), weight)
    ends = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight += step * direction
        ends.append(gradient())
        with torch.no_grad():
            weight -= step * direction
    wanted = (ends[0] - ends[1]) / 2e-5
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_parameter_may_have_a_history() -> None:
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    executor = Executor(net())
    step = torch.zeros((), requires_grad=True)
    executor.parameters["w"] = executor.parameters["w"] + step
    executor.run({"x": floats(0, 1, 3, 8, 8)})["y"].sum().backward()
    assert step.grad is not None and step.grad != 0


@pytest.mark.parametrize("name", ["mlperf_resnet8_float", "mlperf_kws_float", "mlperf_pretrainedResnet_quant_qdq"])
def test_small_real_networks(testdata: Path, name: str) -> None:
    pytest.importorskip("torch")
    model = load(testdata / "models" / f"{name}.onnx")
    one = model.graph.input[0]
    shape = [dim.dim_value or 1 for dim in one.type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(one.type.tensor_type.elem_type)
    x = np.random.default_rng(0).uniform(0, 1 if kind == np.float32 else 120, shape).astype(kind)
    assert_same(model, {one.name: x})
    assert by_runtime(model, {one.name: x})
