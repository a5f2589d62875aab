"""What a Softmax writes is what numpy says, to the bit: the integer kernel multiplies by a rounded-down inverse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from test_cuts import compiled, node, write

from qdsl.quant import whole_inverse

LEVELS = ort.GraphOptimizationLevel


@pytest.mark.parametrize("scale", [1 / 255, 1 / 256, 1 / 127, 0.003, 0.00002, 0.9, 1.0])
def test_the_inverse_in_float32_is_whole(scale: float) -> None:
    found = whole_inverse(np.float32(scale))
    steps = np.floor(np.float32(1) / found)
    assert abs(float(steps) * float(found) - 1) < 1e-6  # nothing is lost by rounding down
    # what was held still is, but for a last bit; steps grow by less than one part in their number
    assert scale * (1 - 1e-6) <= found <= scale * (1 + 1 / steps)


def test_scales_without_such_an_inverse_stay() -> None:
    assert whole_inverse(np.float32(7)) == np.float32(7)
    assert whole_inverse(np.float32(1e-30)) == np.float32(1e-30)


@pytest.mark.parametrize("gain", [0.02, 0.3, 4.0])
@pytest.mark.parametrize("activations", ["uint8 affine", "uint8 affine reduce_range", "int8 affine"])
def test_probabilities_are_those_of_numpy(gain: float, activations: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    weights = {name: draw.standard_normal((16, 16)).astype(np.float32) for name in "wv"}
    weights["w"] *= np.float32(gain)
    nodes = [
        node("MatMul", ["x", "w"], ["s"], "scores"),
        node("Softmax", ["s"], ["p"], "softmax", axis=-1),
        node("MatMul", ["p", "v"], ["y"], "out"),
    ]
    recipe = write(tmp_path, nodes, weights, {"x": draw.standard_normal((8, 1, 40, 16)).astype(np.float32)})
    recipe.write_text(recipe.read_text().replace("uint8 affine", activations))
    (target,) = compiled(recipe).targets
    model = onnx.load(target.emitted.model)
    quantized = {n.input[0]: n for n in model.graph.node if n.op_type == "QuantizeLinear"}
    constants = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    kind = onnx.TensorProto.INT8 if activations.startswith("int8") else onnx.TensorProto.UINT8
    names = [quantized[name].output[0] for name in ("s", "p")]
    model.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name in names)
    x = draw.standard_normal((1, 40, 16)).astype(np.float32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    run = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    scores, got = run.run(names, {"x": x})
    (scale, zero), (step, origin) = ([constants[n] for n in quantized[name].input[1:]] for name in ("s", "p"))
    real = (scores.astype(np.float64) - zero) * scale
    powers = np.exp(real - real.max(-1, keepdims=True))
    steps = np.rint(powers / powers.sum(-1, keepdims=True) / np.float64(step)) + origin
    exact = np.clip(steps, np.iinfo(got.dtype).min, np.iinfo(got.dtype).max)
    assert np.array_equal(got, exact)
