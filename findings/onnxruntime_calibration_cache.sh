#!/usr/bin/env bash
# onnxruntime takes the ranges of other data from a calibration cache, and does not say so.
#
# `quantize_static(..., calibration_cache_path=...)` writes the ranges that it measured, and reads them the next time. It compares
# the method of calibration, but neither the data nor the weights: another set of images, or the network after more training, gets
# the ranges of before. The reader of the new data is not asked for a single sample, and nothing is printed.
#
# A path that stays the same in a script or a CI job is enough.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen, the scales of input and output:
#   first data, first weights     0.0078 0.0784   4 samples read
#   data a tenth as large         0.0078 0.0784   0 samples read
#   weights ten times as large    0.0078 0.0784   0 samples read
#   both without the cache        0.0008 0.0784   4 samples read
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF' 2>&1 | grep -v WARNING
import numpy as np
import onnx
from onnx import checker, numpy_helper, parser
from onnxruntime import quantization as q

data = [np.linspace(-1, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8) * k for k in (1, 0.5, -1, 0.25)]


def save(factor):
    made = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,1,8,8] x) => (float[1,1,8,8] y) { y = Conv(x, w) }'
    )
    made.graph.initializer.append(numpy_helper.from_array(np.full((1, 1, 1, 1), factor, np.float32), "w"))
    checker.check_model(made, full_check=True)
    onnx.save(made, "float.onnx")


class Reader(q.CalibrationDataReader):
    def __init__(self, factor):
        self.rest = iter([sample * np.float32(factor) for sample in data])
        self.asked = 0

    def get_next(self):
        sample = next(self.rest, None)
        self.asked += sample is not None
        return None if sample is None else {"x": sample}


def quantized(factor, cache):
    """The scales of input and output, and how many samples were read."""
    reader = Reader(factor)
    q.quantize_static("float.onnx", "int8.onnx", reader, calibration_cache_path=cache)
    found = {t.name: numpy_helper.to_array(t) for t in onnx.load("int8.onnx").graph.initializer}
    return float(found["x_scale"]), float(found["y_scale"]), reader.asked


def tell(name, found):
    print(f"{name:29} {found[0]:.4f} {found[1]:.4f}   {found[2]} samples read")
    return found


save(10)
first = tell("first data, first weights", quantized(1, "ranges.json"))
second = tell("data a tenth as large", quantized(0.1, "ranges.json"))
save(100)
third = tell("weights ten times as large", quantized(1, "ranges.json"))
plain = tell("both without the cache", quantized(0.1, None))
assert first[2] == plain[2] == 4 and plain[0] < first[0] / 5, "the scales do not follow the data"
assert second[:2] == first[:2] and second[2] == 0, "other data is noticed now"
assert third[:2] == first[:2] and third[2] == 0, "other weights are noticed now"
EOF
