#!/usr/bin/env bash
# A backward Slice that ends at INT_MAX is the whole axis in onnxruntime, and nothing by ONNX's text.
#
# For negative steps ONNX clamps `ends` to [-1, size - 1]: x[-1 : 2**63 - 1 : -1] is empty, as in numpy, and so say shape inference
# and the reference. onnxruntime takes the largest int64, and the largest int32 though the input is int64, for "to the end in the
# direction of the step", and returns the axis reversed; one less, or any other number past the axis, gives nothing. ONNX's word for
# "to the end" backward is INT_MIN, on which all agree.
#
# A tool that folds constants, or splits a model, by the reference's rules changes what such a file computes; tensors whose shape was
# inferred as 0 come with data.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, of 1 2 3 4 from -1 by -1:
#   ends                     onnxruntime   reference   inferred size
#   INT64_MAX                4 3 2 1       nothing     0
#   INT64_MAX - 1            nothing       nothing     0
#   INT32_MAX                4 3 2 1       nothing     0
#   INT32_MAX + 1            nothing       nothing     0
#   INT64_MIN                4 3 2 1       4 3 2 1     4
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser, shape_inference
from onnx.reference import ReferenceEvaluator

X = np.arange(1, 5, dtype=np.float32)


def sliced(end):
    """(what onnxruntime makes of it, what the reference makes of it, the size that is inferred)."""
    made = parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[4] x) => (float[N] y) { y = Slice(x, start, end, axis, step) }'
    )
    constants = {"start": -1, "end": end, "axis": 0, "step": -1}
    made.graph.initializer.extend(numpy_helper.from_array(np.array([v]), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of another shape than the inferred one
    ran = ort.InferenceSession(made.SerializeToString(), options).run(None, {"x": X})[0]
    meant = ReferenceEvaluator(made).run(None, {"x": X})[0]
    inferred = shape_inference.infer_shapes(made, data_prop=True).graph.output[0].type.tensor_type.shape.dim[0].dim_value
    return ran.tolist(), meant.tolist(), inferred


ENDS = {"INT64_MAX": 2**63 - 1, "INT64_MAX - 1": 2**63 - 2, "INT32_MAX": 2**31 - 1, "INT32_MAX + 1": 2**31, "INT64_MIN": -(2**63)}
REVERSED = X[::-1].tolist()
print(f"{'ends':24} onnxruntime   reference   inferred size")
for name, end in ENDS.items():
    ran, meant, inferred = sliced(end)
    shown = [" ".join(f"{v:g}" for v in values) or "nothing" for values in (ran, meant)]
    print(f"{name:24} {shown[0]:13} {shown[1]:11} {inferred}")
    assert meant == X[-1:end:-1].tolist() and inferred == len(meant), "the reference, numpy and shape inference disagree now"
    assert ran == (REVERSED if name in ("INT64_MAX", "INT32_MAX", "INT64_MIN") else []), f"{name} otherwise now"
EOF
