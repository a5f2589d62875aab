#!/usr/bin/env bash
# OpenVINO pads an average pool of integers with the integer 0, which is not the number 0.
#
# AveragePool with count_include_pad = 1 (what an export of torch.nn.AvgPool2d writes) counts zeros around the picture. Between
# Q/DQ pairs OpenVINO pools the integers and pads those with 0, which stands for -zero_point * scale. Every border is wrong
# by a third to more than a half of that; the inner part is right, and with a zero point of 0 (behind a ReLU) all is. MaxPool,
# Conv and count_include_pad = 0 pad rightly.
#
# onnx 1.23.2, onnxruntime 1.32.0, openvino 2026.4.1, numpy 2.4.6; on x86-64, with VNNI and (emulated) with AVX2 alone.
# Seen, in steps of the output for a 3 x 3 pool:
#   zero point   0: inside 0, edges 0, corners 0
#   zero point 128: inside 0, edges 43, corners 72
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 openvino==2026.4.1 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
import numpy as np
import onnxruntime as ort
import openvino as ov
from onnx import checker, numpy_helper, parser

STEP = np.float32(0.05)
x = np.random.default_rng(2).standard_normal((1, 4, 8, 8)).astype(np.float32)


def steps_off(zero, counted):
    """How many steps apart OpenVINO and the graph as it is written are, at each place."""
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[1,4,8,8] x) => (float[1,4,8,8] y) {{
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)
            p = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = {counted}>(d)
            r = QuantizeLinear(p, s, z)  y = DequantizeLinear(r, s, z) }}"""
    )
    made.graph.initializer.extend([numpy_helper.from_array(STEP, "s"), numpy_helper.from_array(np.uint8(zero), "z")])
    checker.check_model(made, full_check=True)
    blob, options, core = made.SerializeToString(), ort.SessionOptions(), ov.Core()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    wanted = ort.InferenceSession(blob, options).run(None, {"x": x})[0]
    found = core.compile_model(core.read_model(blob), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([x])[0]
    return np.rint(np.abs(found - wanted) / STEP).astype(int).max(axis=(0, 1))


def parts(off):
    return off[1:-1, 1:-1].max(), off[0, 1:-1].max(), off[0, 0]


for zero in (0, 128):
    inside, edge, corner = parts(steps_off(zero, counted=1))
    print(f"zero point {zero:3}: inside {inside}, edges {edge}, corners {corner}")
    # three of nine places of an edge are padding, five of a corner's
    want = (zero * 3 / 9, zero * 5 / 9)
    assert inside <= 1 and abs(edge - want[0]) <= 1 and abs(corner - want[1]) <= 1, "the borders come out otherwise now"
assert max(parts(steps_off(128, counted=0))) <= 1
EOF
