#!/usr/bin/env bash
# onnxruntime joins x * sigmoid(x) to one kernel in a float model, but not where x comes from a DequantizeLinear.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU provider; Python 3.11).
# Seen: Relu, Sigmoid, Mul runs as Relu and QuickGelu (alpha 1). With QuantizeLinear and DequantizeLinear behind the Relu
#   and Sigmoid and Mul both reading the one DequantizeLinear, the optimized graph has two DequantizeLinear, a Sigmoid and
#   a Mul: each reader gets a DequantizeLinear of its own before the pattern is looked for.
# Why it matters: a detector with SiLU kept in float between integer convolutions pays for an operator and a
#   DequantizeLinear more at each. A com.microsoft QuickGelu written into the file runs as it stands.
# Fails when the two are joined behind a DequantizeLinear, or no longer in a float model.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6

cat > "$folder/run.py" <<'PY'
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

SHAPE = [1, 4, 8, 8]
FOLDER = Path(sys.argv[1])
node = helper.make_node


def kernels(name, middle, read):
    """The operators that run of Relu, `middle`, and x * sigmoid(x) of what `read` names."""
    tail = [node("Sigmoid", [read], ["s"]), node("Mul", [read, "s"], ["y"])]
    info = [helper.make_tensor_value_info(each, TensorProto.FLOAT, SHAPE) for each in ("x", "y")]
    constants = [numpy_helper.from_array(np.float32(0.05), "scale"), numpy_helper.from_array(np.uint8(0), "zero")]
    graph = helper.make_graph([node("Relu", ["x"], ["r"]), *middle, *tail], name, info[:1], info[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(FOLDER / f"{name}.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return sorted(each.op_type for each in onnx.load(options.optimized_model_filepath).graph.node)


pair = [node("QuantizeLinear", ["r", "scale", "zero"], ["q"]), node("DequantizeLinear", ["q", "scale", "zero"], ["d"])]
plain, paired = kernels("plain", [], "r"), kernels("paired", pair, "d")
print("float:                    ", *plain)
print("behind a DequantizeLinear:", *paired)
if "QuickGelu" not in plain:
    sys.exit("CHANGED: not joined in a float model")
if "QuickGelu" in paired or paired.count("DequantizeLinear") != 2:
    sys.exit("CHANGED: joined behind a DequantizeLinear")
PY
"$folder/venv/bin/python" "$folder/run.py" "$folder"
