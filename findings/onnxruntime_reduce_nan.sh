#!/usr/bin/env bash
# Whether onnxruntime's ReduceMax of numbers with a NaN is NaN depends on where the NaN stands, and so does its calibration.
#
# The largest of a row with a NaN in it is NaN in numpy and in onnx's reference implementation. In onnxruntime it is where the NaN
# comes first, and the largest of the others where it does not; ReduceMin is the same, ReduceSum is NaN always. MinMax calibration
# adds a ReduceMin and a ReduceMax to every tensor: a layer that is NaN for some elements (a Sqrt of what is negative, a normalization
# by 0) gets a plain range from the rest, and the model is quantized without a word. With the first element NaN the same data ends
# in "scale issue", which names no tensor.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; x86-64 with AVX-512 (other CPUs not looked at).
# Seen:
#   ReduceMax   of nan 1 3 2: onnxruntime nan, onnx nan   of 1 nan 3 2: onnxruntime 3, onnx nan
#   ReduceMin   of nan 1 3 2: onnxruntime nan, onnx nan   of 1 nan 3 2: onnxruntime 1, onnx nan
#   ReduceSum   of nan 1 3 2: onnxruntime nan, onnx nan   of 1 nan 3 2: onnxruntime nan, onnx nan
#   calibration of a Sqrt, 96 of 192 elements nan: the last ones scale 0.0078; the first ones AssertionError: scale issue
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF' 2> log || { cat log; exit 1; }
import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from onnxruntime import quantization as q

NAN = float("nan")


def model(text, **constants):
    made = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    made.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    return made


def both(made, x):
    """The one number of onnxruntime and of the reference implementation."""
    ran = ort.InferenceSession(made.SerializeToString()).run(None, {"x": x})[0]
    return float(ran.ravel()[0]), float(np.ravel(ReferenceEvaluator(made).run(None, {"x": x})[0])[0])


first, second = np.array([[NAN, 1, 3, 2]], np.float32), np.array([[1, NAN, 3, 2]], np.float32)
cases = {
    "ReduceMax": model("g (float[1,4] x) => (float[1,1] y) { y = ReduceMax<axes = [1]>(x) }"),
    "ReduceMin": model("g (float[1,4] x) => (float[1,1] y) { y = ReduceMin<axes = [1]>(x) }"),
    "ReduceSum": model("g (float[1,4] x) => (float[1,1] y) { y = ReduceSum(x, a) }", a=np.array([1])),
}
found = {name: (both(made, first), both(made, second)) for name, made in cases.items()}
for name, (one, two) in found.items():
    print(f"{name}   of nan 1 3 2: onnxruntime {one[0]:g}, onnx {one[1]:g}   of 1 nan 3 2: onnxruntime {two[0]:g}, onnx {two[1]:g}")


class Reader(q.CalibrationDataReader):
    def __init__(self, data):
        self.rest = [{"x": data}]

    def get_next(self):
        return self.rest.pop() if self.rest else None


def calibrated(data):
    """The scale of the Sqrt's result, or what was raised."""
    try:
        q.quantize_static("float.onnx", "int8.onnx", Reader(data))
    except AssertionError as refused:
        return f"AssertionError: {refused}"
    scales = {t.name: numpy_helper.to_array(t) for t in onnx.load("int8.onnx").graph.initializer}
    return f"scale {float(scales['r_scale']):.4f}"


falling = np.linspace(4, -4, 192, dtype=np.float32).reshape(1, 3, 8, 8)
weight = np.full((3, 1, 1, 1), 0.5, np.float32)
text = "g (float[1,3,8,8] x) => (float[1,3,8,8] y) { r = Sqrt(x)  y = Conv<group = 3>(r, w) }"
onnx.save(model(text, w=weight), "float.onnx")
broken = int(np.isnan(ort.InferenceSession("float.onnx").run(None, {"x": falling})[0]).sum())
last, ahead = calibrated(falling), calibrated(np.ascontiguousarray(falling[..., ::-1, ::-1][:, ::-1]))
print(f"calibration of a Sqrt, {broken} of 192 elements nan: the last ones {last}; the first ones {ahead}")
assert all(np.isnan([one[1], two[1]]).all() for one, two in found.values()), "onnx does not give NaN"
assert np.isnan([found[name][0][0] for name in found]).all() and np.isnan(found["ReduceSum"][1][0])
assert found["ReduceMax"][1][0] == 3 and found["ReduceMin"][1][0] == 1, "a NaN that is not the first is kept now"
assert broken == 96 and last.startswith("scale ") and ahead.startswith("AssertionError"), "calibration notices otherwise now"
EOF
