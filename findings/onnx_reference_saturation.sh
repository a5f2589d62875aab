#!/usr/bin/env bash
# The reference implementation of ONNX quantizes large values and infinity to the lowest code, where the text says the largest.
#
# QuantizeLinear is saturate(round(x / scale) + zero_point). The reference casts the quotient to int32 before it clips: from 2**31
# steps on, x86 makes the lowest int32 of it, and that is clipped to -128. It needs no odd input: with the scale that a range of
# nothing leaves (1e-7 or less, a dead channel), 300 is such a value. onnxruntime saturates.
#
# Who compares a backend with the reference reads this as the backend's error.
#
# onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; x86-64 (the cast is the processor's).
# Seen, as the code:
#   int8, scale 0.01:   2e7: reference 127, onnxruntime 127   3e7: reference -128, onnxruntime 127   inf: reference -128, onnxruntime 127
#   uint8, scale 0.01: 2e7: reference 255, onnxruntime 255   3e7: reference 0, onnxruntime 255   inf: reference 0, onnxruntime 255
#   int8, scale 1e-07: 200: reference 127, onnxruntime 127   300: reference -128, onnxruntime 127
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || { echo "x86-64 only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/env/bin/python" -W ignore - <<'EOF'
import numpy as np
import onnxruntime as ort
from onnx import checker, numpy_helper, parser
from onnx.reference import ReferenceEvaluator


def codes(kind, scale, x):
    """The codes of the reference, and those of onnxruntime."""
    made = parser.parse_model(
        f"""<ir_version: 10, opset_import: ["" : 21]> g (float[N] x) => ({np.dtype(kind).name}[N] y) {{
            y = QuantizeLinear(x, s, z) }}"""
    )
    made.graph.initializer.extend([numpy_helper.from_array(np.array(scale, np.float32), "s"), numpy_helper.from_array(np.array(0, kind), "z")])
    checker.check_model(made, full_check=True)
    given = {"x": np.array(x, np.float32)}
    session = ort.InferenceSession(made.SerializeToString())
    return ReferenceEvaluator(made).run(None, given)[0].tolist(), session.run(None, given)[0].tolist()


for kind, scale, texts in (np.int8, 0.01, ["2e7", "3e7", "inf"]), (np.uint8, 0.01, ["2e7", "3e7", "inf"]), (np.int8, 1e-7, ["200", "300"]):
    reference, ran = codes(kind, scale, [float(t) for t in texts])
    told = (f"{t}: reference {a}, onnxruntime {b}" for t, a, b in zip(texts, reference, ran, strict=True))
    print(f"{np.dtype(kind).name}, scale {scale}:", "   ".join(told))
    low, high = np.iinfo(kind).min, np.iinfo(kind).max
    assert ran == [high] * len(texts), "onnxruntime does not saturate now"
    assert reference == [high] + [low] * (len(texts) - 1), "the reference saturates now"
EOF
