#!/usr/bin/env bash
# torch trains with another rounding than it quantizes with: where the zero point is odd, ties go the other way.
#
# fake_quantize_per_tensor_affine rounds x / scale to even and adds the zero point, as ONNX does. quantize_per_tensor adds it first and
# rounds the sum to even. With an odd zero point every tie, half a step from two codes, differs by one code: 0.5 is 0 in training
# and 1 in the quantized model. 127 is what the default observer chooses for a range of -1 to 1.
#
# Ties are no rarity where scales are powers of two, or behind an average of quantized values.
#
# torch 2.13.0, numpy 2.4.6; x86-64, seen on an EPYC with AVX2.
# Seen, scale 1:
#   x                                -2.5 -1.5 -0.5  0.5  1.5  2.5
#   fake quantized, zero point 127     -2   -2    0    0    2    2
#   quantized, zero point 127          -3   -1   -1    1    1    3
#   fake quantized, zero point 128     -2   -2    0    0    2    2
#   quantized, zero point 128          -2   -2    0    0    2    2
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || { echo "x86-64 only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$work/env/bin/python" -W ignore - <<'EOF'
import torch
from torch.ao.quantization import MinMaxObserver

x = torch.arange(-2.5, 3.5, 1.0)
EVEN, ODD = [-2, -2, 0, 0, 2, 2], [-3, -1, -1, 1, 1, 3]
print(f"{'x':31}", " ".join(f"{v:4}" for v in x.tolist()))
for zero, expected in (127, ODD), (128, EVEN):
    trained = torch.fake_quantize_per_tensor_affine(x, 1.0, zero, 0, 255).tolist()
    stored = torch.quantize_per_tensor(x, 1.0, zero, torch.quint8).dequantize().tolist()
    for name, found in ("fake quantized", trained), ("quantized", stored):
        print(f"{name + f', zero point {zero}':31}", " ".join(f"{v:4.0f}" for v in found))
    assert trained == EVEN and stored == expected, "ties are rounded otherwise now"
observer = MinMaxObserver(dtype=torch.quint8)
observer(torch.tensor([-1.0, 1.0]))
assert int(observer.calculate_qparams()[1]) == 127, "the observer chooses another zero point now"
EOF
