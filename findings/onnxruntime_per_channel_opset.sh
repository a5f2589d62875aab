#!/usr/bin/env bash
# onnxruntime's quantizer writes a per-channel Q/DQ model that no runtime loads, and says nothing.
#
# Scales per channel came to QuantizeLinear and DequantizeLinear with opset 13. `quantize_static(.., per_channel=True)` on a model
# of opset 10 to 12 keeps the opset and writes the `axis` of opset 13 all the same: it ends well, the file has the expected size,
# and neither onnx's checker nor onnxruntime takes it. For 16-bit activations the same function raises the opset (to 21), and in
# the QOperator format (scales per channel since opset 10) the same call gives a model that runs.
#
# Older exports are of such opsets. `onnx.version_converter` to 13, before quantizing, is the cure.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; any CPU.
# Seen:
#   opset 10 to opset 10: checker: Unrecognized attribute: axis for operator DequantizeLinear; onnxruntime: INVALID_GRAPH
#   opset 11 to opset 11: checker: Unrecognized attribute: axis for operator DequantizeLinear; onnxruntime: INVALID_GRAPH
#   opset 12 to opset 12: checker: Unrecognized attribute: axis for operator DequantizeLinear; onnxruntime: INVALID_GRAPH
#   opset 13 to opset 13: runs
#   opset 12 with 16-bit activations to opset 21, opset 12 in the QOperator format to opset 12: run
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work" && env/bin/python - <<'EOF'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import checker, numpy_helper, parser
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)  # "please pre-process", and of opset 10 that a newer one is faster
draw = np.random.default_rng(9)
weights = draw.standard_normal((8, 3, 3, 3)).astype(np.float32)


class Reader(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x": draw.standard_normal((1, 3, 8, 8)).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.left, None)


def attempt(opset, **more):
    """The opset written, and the objections of checker and runtime."""
    made = parser.parse_model(
        f'<ir_version: 7, opset_import: ["" : {opset}]> g (float[1,3,8,8] x) => (float[1,8,6,6] y) {{ y = Conv(x, w) }}'
    )
    made.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    checker.check_model(made, full_check=True)
    onnx.save(made, "float.onnx")
    quantize_static("float.onnx", "quantized.onnx", Reader(), per_channel=True, **more)
    written = onnx.load("quantized.onnx")
    version = next(entry.version for entry in written.opset_import if entry.domain == "")
    try:
        checker.check_model(written)
        ort.InferenceSession("quantized.onnx").run(None, Reader().get_next())
    except checker.ValidationError as error:
        try:
            ort.InferenceSession("quantized.onnx")
        except Exception as refused:
            return version, f"checker: {str(error).splitlines()[0]}; onnxruntime: {str(refused).split(' : ')[2]}"
    return version, "runs"


for opset in (10, 11, 12, 13):
    version, outcome = attempt(opset)
    print(f"opset {opset} to opset {version}: {outcome}")
    assert ("axis for operator DequantizeLinear; onnxruntime: INVALID_GRAPH" in outcome) == (opset < 13), \
        "per-channel Q/DQ below opset 13 is written otherwise now"
wide = attempt(12, activation_type=QuantType.QUInt16)
fused = attempt(12, quant_format=QuantFormat.QOperator)
assert wide == (21, "runs") and fused == (12, "runs"), (wide, fused)
print("opset 12 with 16-bit activations to opset 21, opset 12 in the QOperator format to opset 12: run")
EOF
