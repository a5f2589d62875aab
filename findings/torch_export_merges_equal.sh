#!/usr/bin/env bash
# torch's ONNX exporter makes one tensor of parameters that are equal: the adapters of three layers become the first one's.
#
# torch.onnx.export optimizes by default, and that merges initializers of the same numbers. Adapters start with a matrix of zeros,
# norms with ones; of a network that is exported before it is trained the file names the first one only, and
# every layer reads it. Who fills trained weights into the file by their names, gives each layer its own range or precision, or
# trains the file itself, ties layers that are not tied. optimize=False keeps them all.
#
# torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, numpy 2.4.6; any CPU.
# Seen, of three layers with adapters:
#   by default       up matrices in the file: 0.up.weight; read by 3 nodes
#   optimize=False   up matrices in the file: 0.up.weight 1.up.weight 2.up.weight; read by 1 nodes each
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install -q torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cd "$work" && env/bin/python -W ignore - <<'EOF'
import logging

import onnx
import torch

logging.disable(logging.WARNING)


class Adapted(torch.nn.Module):
    """A linear layer and a low-rank adapter beside it, which adds nothing at first."""

    def __init__(self):
        super().__init__()
        self.base = torch.nn.Linear(8, 8)
        self.down = torch.nn.Linear(8, 2, bias=False)
        self.up = torch.nn.Linear(2, 8, bias=False)
        torch.nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return torch.relu(self.base(x) + self.up(self.down(x)))


torch.manual_seed(0)
network = torch.nn.Sequential(Adapted(), Adapted(), Adapted()).eval()
for name, options, left in ("by default", {}, 1), ("optimize=False", {"optimize": False}, 3):
    torch.onnx.export(network, (torch.zeros(2, 8),), "made.onnx", verbose=False, **options)
    made = onnx.load("made.onnx")
    onnx.checker.check_model(made, full_check=True)
    ups = sorted(t.name for t in made.graph.initializer if t.name.endswith("up.weight"))
    readers = {up: sum(up in n.input for n in made.graph.node) for up in ups}
    print(f"{name:16} up matrices in the file: {' '.join(ups)}; read by {max(readers.values())} nodes{' each' if left > 1 else ''}")
    assert len(ups) == left and set(readers.values()) == {3 // left}, "they are kept apart, or merged, otherwise now"
EOF
