#!/usr/bin/env bash
# A network whose weights are all NaN has a finite loss under torch's fake quantization, and keeps it.
#
# fake_quantize_per_tensor_affine makes the lowest code of a NaN. Training that diverged after the observers were switched off, as
# recipes do after some epochs, shows the same finite loss in every step from then on; the gradient is 0, since the NaN counts as
# clipped, so that no check of gradients sees it either. The per-channel function makes the lowest code of an infinity as well, +inf
# becoming -1.28, where the per-tensor one clips it to 1.27.
#
# Look for NaN in the weights themselves, not in the loss.
#
# torch 2.13.0, numpy 2.4.6; x86-64 (the cast of a NaN to an integer is the processor's), seen on an EPYC with AVX2.
# Seen, scale 0.01, int8:
#   per tensor    nan -1.28   inf 1.27    -inf -1.28
#   per channel   nan -1.28   inf -1.28   -inf -1.28
#   step 0: loss 1.0204, 0 of 32 weights NaN, gradient not 0
#   step 1: loss 0.9556, 0 of 32 weights NaN, gradient not 0
#   step 2: loss 1.1588, 32 of 32 weights NaN, gradient 0
#   step 3: loss 1.1588, 32 of 32 weights NaN, gradient 0
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || { echo "x86-64 only"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.13.0 numpy==2.4.6
"$work/env/bin/python" -W ignore - <<'EOF'
import math

import torch
from torch.ao.quantization import FakeQuantize, MinMaxObserver, disable_observer

values = torch.tensor([math.nan, math.inf, -math.inf])
tensor = torch.fake_quantize_per_tensor_affine(values, 0.01, 0, -128, 127).tolist()
channel = torch.fake_quantize_per_channel_affine(
    values[None], torch.tensor([0.01]), torch.tensor([0], dtype=torch.int32), 0, -128, 127
)[0].tolist()
for name, found in ("per tensor", tensor), ("per channel", channel):
    print(f"{name:13} nan {found[0]:.2f}   inf {found[1]:.2f}   -inf {found[2]:.2f}")
assert [round(v, 2) for v in tensor] == [-1.28, 1.27, -1.28] and [round(v, 2) for v in channel] == [-1.28] * 3

torch.manual_seed(0)
layer = torch.nn.Linear(8, 4, bias=False)
kind = {"quant_min": -128, "quant_max": 127, "dtype": torch.qint8, "qscheme": torch.per_tensor_symmetric}
weights, inputs = FakeQuantize(observer=MinMaxObserver, **kind), FakeQuantize(observer=MinMaxObserver, **kind)
x, target = torch.randn(16, 8), torch.randn(16, 4)
weights(layer.weight), inputs(x)
for quantizer in (weights, inputs):
    quantizer.apply(disable_observer)
steps = torch.optim.SGD(layer.parameters(), lr=0.1)
losses = []
for step in range(4):
    if step == 2:
        with torch.no_grad():
            layer.weight.fill_(math.nan)  # what one step too large leaves
    steps.zero_grad()
    loss = (torch.nn.functional.linear(inputs(x), weights(layer.weight)) - target).square().mean()
    loss.backward()
    steps.step()
    losses.append(loss.item())
    broken, none = int(layer.weight.isnan().sum()), bool((layer.weight.grad == 0).all())
    print(f"step {step}: loss {losses[-1]:.4f}, {broken} of 32 weights NaN, gradient {'0' if none else 'not 0'}")
    assert broken == 32 * (step >= 2) and none == (step >= 2)
assert all(map(math.isfinite, losses)), "the loss is NaN now"
EOF
