#!/usr/bin/env bash
# A depthwise convolution of onnxruntime takes over 30 times as long when its weights' zero points differ.
#
# QLinearConv has a kernel of its own for depthwise weights (group = channels). It takes one zero point for all of them. With a
# vector whose elements are equal it is still taken; with one element changed the node falls back to the general path, group by
# group. Dense convolutions do not care. Nothing says so: the file and the operator in a profile are the same.
#
# Affine weights per channel are what a quantizer offers for accuracy, and depthwise layers are where it is tried first.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; x86-64 with AVX-512 VNNI (elsewhere the ratio is printed and not judged).
# 128 channels, 3 x 3, 28 x 28, one thread, the fastest of 15. The ratio was 33 to 55; under 5 fails.
# Seen:
#   depthwise: equal zero points 0.08 ms, one of them another 2.7 ms: 35 times
#   dense:     equal zero points 0.65 ms, one of them another 0.65 ms: 1 times
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" - <<'EOF'
from pathlib import Path
from time import perf_counter

import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser

CHANNELS = 128
draw = np.random.default_rng(7)
x = draw.integers(0, 256, (1, CHANNELS, 28, 28)).astype(np.uint8)


def prepare(group, zero_points):
    made = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (uint8[1,{CHANNELS},28,28] x) => (uint8[1,{CHANNELS},28,28] y) {{
            y = QLinearConv<group = {group}, pads = [1, 1, 1, 1]>(x, xs, xz, w, ws, wz, ys, yz) }}"""
    )
    constants = {"xs": np.float32(0.02), "xz": np.uint8(128), "ys": np.float32(0.5), "yz": np.uint8(128),
                 "w": draw.integers(0, 256, (CHANNELS, CHANNELS // group, 3, 3)).astype(np.uint8),
                 "ws": np.full(CHANNELS, 0.01, np.float32), "wz": zero_points}
    made.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    checker.check_model(made, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(made.SerializeToString(), options)


def fastest(sessions, rounds=15, repeat=5):
    """Milliseconds of each, in turns."""
    best = [np.inf] * len(sessions)
    for _ in range(rounds):
        for place, session in enumerate(sessions):
            begin = perf_counter()
            for _ in range(repeat):
                session.run(None, {"x": x})
            best[place] = min(best[place], (perf_counter() - begin) / repeat * 1000)
    return best


equal = np.full(CHANNELS, 120, np.uint8)
other = equal.copy()
other[0] = 121
ratios = []
for name, group in (("depthwise:", CHANNELS), ("dense:    ", 1)):
    even, odd = fastest([prepare(group, equal), prepare(group, other)])
    ratios.append(odd / even)
    print(f"{name} equal zero points {even:.2g} ms, one of them another {odd:.2g} ms: {ratios[-1]:.0f} times")
cpu = Path("/proc/cpuinfo")
if not cpu.exists() or "avx512_vnni" not in cpu.read_text():
    print("not judged: no AVX-512 VNNI here")
    raise SystemExit(0)
assert ratios[0] > 5, "the depthwise kernel takes differing zero points now"
assert ratios[1] < 2
EOF
