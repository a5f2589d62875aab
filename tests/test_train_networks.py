"""Whole networks in the executor: the operators that vision models are made of, agreement, memory, and learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper
from PIL import Image
from train_tools import Array, assert_same, by_runtime, floats, model_of, runtime

from qdsl.graph import load
from qdsl.train import lacking

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ("cracks/mobilenet_v1_025", "cracks/mobilenet_v2_050", "people/yolov8n", "steel/steel")
WITH_BODIES = "silero_vad_16k_op15"


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_lacking_for_the_examples(name: str) -> None:
    assert lacking(load(ROOT / "examples" / f"{name}.onnx")) == ()


@pytest.mark.slow
def test_what_real_models_lack(testdata: Path) -> None:
    """Bodies of If, and nothing else."""
    for path in sorted((testdata / "models").glob("*.onnx")):
        assert {lack.what for lack in lacking(load(path))} == ({"If"} if path.stem == WITH_BODIES else set()), path.stem


def one_input(model: ModelProto, seed: int = 0, highest: float = 1.0) -> dict[str, Array]:
    info = model.graph.input[0]
    shape = [dim.dim_value or 1 for dim in info.type.tensor_type.shape.dim]
    kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    x = np.random.default_rng(seed).random(shape) * (highest if kind == np.float32 else 127)
    return {info.name: x.astype(kind)}


@pytest.mark.parametrize("name", ["cracks/mobilenet_v1_025", "cracks/mobilenet_v2_050"])
def test_examples_as_the_runtime(name: str) -> None:
    pytest.importorskip("torch")
    model = onnx.load(ROOT / "examples" / f"{name}.onnx")
    assert_same(model, one_input(model))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES[2:])
def test_large_examples_as_the_runtime(name: str) -> None:
    pytest.importorskip("torch")
    model = onnx.load(ROOT / "examples" / f"{name}.onnx")
    assert_same(model, one_input(model))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolox_nano", "FastestDet", "kwt1_float"])
def test_real_networks_as_the_runtime(testdata: Path, name: str) -> None:
    pytest.importorskip("torch")
    model = onnx.load(testdata / "models" / f"{name}.onnx")
    assert_same(model, one_input(model, highest=255.0 if name == "yolox_nano" else 1.0))


def test_each_node_of_a_quantized_network_on_equal_inputs(testdata: Path) -> None:
    """A tensor within the graph may be fed: each node gets what ONNX Runtime computed before it."""
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    model = onnx.load(testdata / "models" / "mlperf_pretrainedResnet_quant_qdq.onnx")
    executor, feeds = Executor(load(testdata / "models" / "mlperf_pretrainedResnet_quant_qdq.onnx")), one_input(model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for node in model.graph.node for name in node.output)
    known, off, count = {**by_runtime(model, feeds), **feeds}, 0, 0
    for node in model.graph.node:
        with torch.no_grad():
            found = executor.run({name: known[name] for name in node.input if name in known}, node.output)
        for name in node.output:
            ours, theirs = found[name].numpy(), known[name]
            if theirs.dtype.kind == "f":
                assert np.abs(ours - theirs).max() <= 1e-4 * max(np.abs(theirs).max(), 1e-3)
            else:
                apart = np.abs(ours.astype(int) - theirs.astype(int))
                assert apart.max() <= 1
                off, count = off + int((apart > 0).sum()), count + apart.size
    assert count > 50_000 and off <= count // 1000


PICTURES = {
    "mobilenet_v1_0.25_224_imagenet_float": (224, lambda x: (x / 127.5 - 1).transpose(2, 0, 1).astype(np.float32)),
    "mlperf_vww_96_int8_qdq": (96, lambda x: (x.astype(int) - 128).astype(np.int8)),
    "mlperf_pretrainedResnet_quant_qdq": (32, lambda x: (x.astype(int) - 128).astype(np.int8)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_the_same_class_on_real_pictures(testdata: Path, name: str) -> None:
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    (size, prepared), path = PICTURES[name], testdata / "models" / f"{name}.onnx"
    pictures = sorted((testdata / "images").rglob("*.jpg"))
    executor, answers, same = Executor(load(path)), runtime(onnx.load(path)), 0
    assert len(pictures) > 100
    for picture in pictures:
        pixels = np.asarray(Image.open(picture).convert("RGB").resize((size, size), Image.Resampling.BILINEAR))
        feeds = {executor.inputs[0]: prepared(pixels)[None]}
        with torch.no_grad():
            ours = executor.run(feeds)[executor.outputs[0]].numpy()
        same += int(ours.argmax() == next(iter(answers(feeds).values())).argmax())
    assert same >= 0.99 * len(pictures)


@pytest.mark.slow
def test_shapes_are_computed_apart_from_the_device() -> None:
    """On torch's device without values: whoever read numbers from it, or mixed it with the CPU, would be refused."""
    pytest.importorskip("torch")
    from qdsl.train import Executor

    for name, shapes in (
        ("people/yolov8n", {"output0": (1, 6, 8400)}),
        ("cracks/mobilenet_v1_025", {"logits": (1, 2)}),
    ):
        model = load(ROOT / "examples" / f"{name}.onnx")
        executor = Executor(model, device="meta")
        found = executor.run(one_input(onnx.load(ROOT / "examples" / f"{name}.onnx")))
        assert {output: tensor.device.type for output, tensor in found.items()} == dict.fromkeys(shapes, "meta")
        for output, shape in shapes.items():
            assert len(found[output].shape) == len(shape)


def chain(length: int) -> ModelProto:
    nodes = [helper.make_node("Relu", [f"t{at}"], [f"t{at + 1}"]) for at in range(length)]
    return model_of(nodes, {"t0": floats(0, 4, 4)}, [f"t{length}"])


def test_a_tensor_lives_until_its_last_reader_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor, executor

    alive: list[int] = []
    run = Executor._step

    def counted(self: Any, step: Any, values: dict[str, Any], batch: Any) -> None:
        run(self, step, values, batch)
        alive.append(len(values))

    monkeypatch.setattr(executor.Executor, "_step", counted)
    for length in (5, 50):
        alive.clear()
        with torch.no_grad():
            Executor(chain(length)).run({"t0": floats(0, 4, 4)})
        assert max(alive) == 1
    alive.clear()
    Executor(chain(5)).run({"t0": floats(0, 4, 4)}, ["t2", "t5"])
    assert max(alive) == 2


def quantized_net() -> tuple[ModelProto, ModelProto]:
    """A float network and the same with 3 bit weights and 4 bit activations, by pairs."""
    values = {"w0": floats(1, 8, 3, 3, 3, scale=0.3), "w1": floats(2, 8, 8, 3, 3, scale=0.2), "g": floats(3, 5, 8)}
    plain: list[Any] = []
    pairs: list[Any] = []
    last, x = "x", {"x": floats(0, 16, 3, 8, 8)}
    constants: dict[str, Any] = dict(values)
    constants |= {"low": np.asarray(np.int8(-4)), "high": np.asarray(np.int8(3)), "z": np.asarray(np.int8(0))}
    for at in range(2):
        plain += [
            helper.make_node("Conv", [last, f"w{at}"], [f"c{at}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{at}"], [f"r{at}"]),
        ]
        constants[f"ws{at}"] = np.abs(values[f"w{at}"]).max((1, 2, 3)) / 3.5
        constants[f"wz{at}"] = np.zeros(8, np.int8)
        constants[f"as{at}"], constants["az"] = np.asarray(np.float32(0.3)), np.asarray(np.uint8(0))
        constants["top"], constants["bottom"] = np.asarray(np.uint8(15)), np.asarray(np.uint8(0))
        source = last if last == "x" else f"rd{at - 1}"
        pairs += [
            helper.make_node("QuantizeLinear", [f"w{at}", f"ws{at}", f"wz{at}"], [f"wq{at}"], axis=0),
            helper.make_node("Clip", [f"wq{at}", "low", "high"], [f"wc{at}"]),
            helper.make_node("DequantizeLinear", [f"wc{at}", f"ws{at}", f"wz{at}"], [f"wd{at}"], axis=0),
            helper.make_node("Conv", [source, f"wd{at}"], [f"c{at}"], pads=[1] * 4),
            helper.make_node("Relu", [f"c{at}"], [f"r{at}"]),
            helper.make_node("QuantizeLinear", [f"r{at}", f"as{at}", "az"], [f"rq{at}"]),
            helper.make_node("Clip", [f"rq{at}", "bottom", "top"], [f"rc{at}"]),
            helper.make_node("DequantizeLinear", [f"rc{at}", f"as{at}", "az"], [f"rd{at}"]),
        ]
        last = f"r{at}"
    tail = lambda name: [  # noqa: E731
        helper.make_node("GlobalAveragePool", [name], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["y"], transB=1),
    ]
    return model_of([*plain, *tail("r1")], x, ["y"], values), model_of([*pairs, *tail("rd1")], x, ["y"], constants)


def test_gradients_lower_what_quantization_lost() -> None:
    """Some steps down the gradient, of weights and learned scales of a network of 3 and 4 bits, against its float
    answers. The network with the learned values then says the same in ONNX Runtime."""
    torch = pytest.importorskip("torch")
    from qdsl.train import Executor

    plain, paired = quantized_net()
    x, unseen = floats(10, 16, 3, 8, 8), floats(11, 16, 3, 8, 8)
    wanted = {id(batch): torch.from_numpy(by_runtime(plain, {"x": batch})["y"]) for batch in (x, unseen)}
    executor = Executor(load_copy(paired), learned_scales=True)
    learned = executor.differentiable(["w0", "w1", *executor.scales])
    assert set(executor.scales) == {"ws0", "ws1", "as0", "as1"}

    def loss(batch: Array) -> Any:
        return ((executor.run({"x": batch})["y"] - wanted[id(batch)]) ** 2).mean()

    before = loss(unseen).item()
    for _ in range(30):  # plain descent: torch.optim takes seconds to import
        loss(x).backward()
        with torch.no_grad():
            for tensor in learned.values():
                tensor -= 0.001 * tensor.grad
                tensor.grad = None
    after = loss(unseen).item()
    assert after < 0.6 * before, (before, after)
    for tensor in paired.graph.initializer:
        if tensor.name in learned:
            tensor.CopyFrom(numpy_helper.from_array(learned[tensor.name].detach().numpy(), tensor.name))
    answer = torch.from_numpy(by_runtime(paired, {"x": unseen})["y"])
    assert float(((answer - wanted[id(unseen)]) ** 2).mean()) == pytest.approx(after, rel=0.02)


def load_copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
