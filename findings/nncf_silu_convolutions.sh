#!/usr/bin/env bash
# Of a network with SiLU or HardSwish that NNCF quantized, onnxruntime runs not one Conv in integers.
#
# NNCF writes a Q/DQ pair behind the activation and none between Conv and activation, as OpenVINO wants it, whose integer Conv has a
# float output. onnxruntime makes a Conv an integer one only where its own output is quantized; a ReLU it can see through, a SiLU
# or HardSwish not. So each Conv runs in float, behind DequantizeLinear nodes of its input and weight: more work than the float
# model. onnxruntime's own quantize_static writes the pair between them, and the same network runs in integers.
#
# The file is valid and the input and weight of each Conv have their pairs: only the optimized model shows it.
#
# nncf 3.4.0, onnx 1.21.0, onnxruntime 1.32.0, numpy 2.4.6; any CPU (the graph is rewritten).
# Seen, of 4 Conv, of which the last one's output is not quantized by NNCF:
#   Relu       NNCF 3 QLinearConv
#   SiLU       NNCF 0 QLinearConv   quantize_static 4 QLinearConv
#   HardSwish  NNCF 0 QLinearConv   quantize_static 4 QLinearConv
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q nncf==3.4.0 onnx==1.21.0 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python -W ignore - <<'EOF' 2> "$work/err" || { cat "$work/err"; exit 1; }
import logging

import nncf
import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

nncf.set_log_level(logging.ERROR)
logging.disable(logging.WARNING)
draw = np.random.default_rng(0)
DATA = [{"x": draw.standard_normal((1, 16, 16, 16)).astype(np.float32)} for _ in range(8)]
ACTIVATIONS = {"Relu": "{0} = Relu({0}c)", "SiLU": "{0}s = Sigmoid({0}c)  {0} = Mul({0}c, {0}s)", "HardSwish": "{0} = HardSwish({0}c)"}


class Reader(CalibrationDataReader):
    """The data, once."""

    def __init__(self):
        self.left = iter(DATA)

    def get_next(self):
        return next(self.left, None)


def network(activation):
    """Four times a Conv and the activation."""
    layers, last = "", "x"
    for name in "abcd":
        layers += f" {name}c = Conv<pads = [1,1,1,1]>({last}, {name}w, {name}b)  " + activation.format(name)
        last = name
    made = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,16,16,16] x) => (float[1,16,16,16] d) {{ {layers} }}'
    )
    for name in "abcd":
        weight, bias = draw.normal(0, 0.12, (16, 16, 3, 3)), draw.normal(0, 0.1, 16)
        made.graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), name + k) for k, v in (("w", weight), ("b", bias)))
    checker.check_model(made, full_check=True)
    return made


def integers(path):
    """How many of the Conv run as QLinearConv."""
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns that such a file is for this machine
    options.optimized_model_filepath = "ran.onnx"
    ort.InferenceSession(path, options)
    return [n.op_type for n in onnx.load("ran.onnx").graph.node].count("QLinearConv")


for name, activation in ACTIVATIONS.items():
    made = network(activation)
    onnx.save(made, "float.onnx")
    onnx.save(nncf.quantize(made, nncf.Dataset(DATA), subset_size=8), "nncf.onnx")
    pairs = [n.op_type for n in onnx.load("nncf.onnx").graph.node].count("DequantizeLinear")
    theirs = integers("nncf.onnx")
    assert pairs == 8, "NNCF quantizes other tensors now"
    if name == "Relu":
        print(f"{name:10} NNCF {theirs} QLinearConv")
        assert theirs == 3, "another number of Conv behind ReLU is fused now"
        continue
    quantize_static("float.onnx", "static.onnx", Reader(), per_channel=True, activation_type=QuantType.QUInt8)
    own = integers("static.onnx")
    print(f"{name:10} NNCF {theirs} QLinearConv   quantize_static {own} QLinearConv")
    assert theirs == 0 and own == 4, "they run otherwise now"
EOF
