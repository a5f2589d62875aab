#!/usr/bin/env bash
# onnx infers a row and a column too many behind a pool with ceil_mode, below opset 22, against everything that runs.
#
# With ceil_mode the last window may begin in the padding behind the data. onnxruntime and onnx's own reference implementation leave
# such a window out at every opset, as PyTorch does. onnx's shape inference counts it for MaxPool and AveragePool up to opset 21 and
# leaves it out from 22 on, so that the same node has another inferred shape for another opset number and the same result.
#
# What is planned by inferred shapes (memory, a Reshape or a Flatten worked out beforehand) does not fit what runs.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, 8 x 8, kernel 2, stride 3, a padding of 1: inferred, reference implementation, onnxruntime
#   MaxPool     opset 17  4 x 4   3 x 3   3 x 3
#   MaxPool     opset 21  4 x 4   3 x 3   3 x 3
#   MaxPool     opset 22  3 x 3   3 x 3   3 x 3
#   AveragePool opset 17  4 x 4   3 x 3   3 x 3
#   AveragePool opset 21  4 x 4   3 x 3   3 x 3
#   AveragePool opset 22  3 x 3   3 x 3   3 x 3
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, parser, shape_inference
from onnx.reference import ReferenceEvaluator

ort.set_default_logger_severity(3)  # it may warn of the shape that it infers itself
X = np.ones((1, 1, 8, 8), np.float32)


def sizes(operator, opset):
    """Rows and columns: inferred, by the reference implementation, by onnxruntime."""
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : {opset}]> g (float[1,1,8,8] x) => (float[a,b,c,d] y) {{
            y = {operator}<kernel_shape = [2, 2], strides = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1>(x) }}"""
    )
    checker.check_model(made, full_check=True)
    inferred = shape_inference.infer_shapes(made, strict_mode=True).graph.output[0].type.tensor_type.shape.dim
    reference = ReferenceEvaluator(made).run(None, {"x": X})[0]
    ran = ort.InferenceSession(made.SerializeToString()).run(None, {"x": X})[0]
    return (inferred[2].dim_value, inferred[3].dim_value), reference.shape[2:], ran.shape[2:]


for operator in ("MaxPool", "AveragePool"):
    for opset in (17, 21, 22):
        found = sizes(operator, opset)
        print(f"{operator:11} opset {opset}  {'   '.join(f'{h} x {w}' for h, w in found)}")
        assert found[1] == found[2] == (3, 3), "what runs has another shape now"
        assert found[0] == ((3, 3) if opset == 22 else (4, 4)), "the inference says otherwise now"
EOF
