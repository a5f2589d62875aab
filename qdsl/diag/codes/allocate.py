"""Codes of `allocate`."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_HEAD = (
    'recipe example\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\n'
    "quantize static { calibrate minmax on calib }\ntarget ort\n"
)
_SETUP = "two_convs.onnx: conv1, relu, conv2, sub in a row"

CODES = {
    "allocate-size": CodeDoc(
        "`allocate` with a bound on the size that no assignment keeps",
        "Even with the choice that takes the fewest bytes for every layer, the file is larger than the bound. What is "
        "told as the smallest is the file that this would give; scales, biases and the graph itself are part of it.",
        _HEAD + "allocate weights from [int8, int4] { minimize loss under size <= 1 KB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-nothing": CodeDoc(
        "`allocate` without anything to decide",
        "`allocate` decides weights that no `layers` or `keep` rule speaks of. Either rules speak of all of them, or "
        "no choice can be given to those that are left, or to a group of nodes that take one choice together.",
        _HEAD
        + "layers all { weights int8 }\nallocate weights from [int8, int4] { minimize loss under size <= 1 MB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-pin": CodeDoc(
        "`pin` or `group` that reaches nothing that `allocate` decides",
        "What a `layers` or `keep` rule decides, and nodes without weights, are not for `allocate` to decide.",
        _HEAD + "allocate weights from [int8, int4] {\n  pin op Relu to int8\n  minimize loss under size <= 1 MB\n}\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-bound": CodeDoc(
        "`allocate` with a goal or a bound that it cannot work towards",
        "`allocate weights` and `allocate activations` minimize `loss` under `size <= BYTES`.",
        _HEAD + "allocate weights from [int8, int4] { minimize latency under size <= 1 MB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-loss": CodeDoc(
        "the loss of a choice is not a finite number",
        "A sensitivity that overflows, or a network that does not compute finite numbers on the samples.",
        _HEAD + "allocate weights from [int8, int4]\n",
        setup=_SETUP,
        verb="library",
    ),
}
