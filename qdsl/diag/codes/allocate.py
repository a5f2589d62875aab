"""Codes of `allocate`."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_HEAD = (
    'recipe example\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\n'
    "quantize static { calibrate minmax on calib }\ntarget ort\n"
)
_LAYERS = (
    'recipe example\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\ndata dev from npz "calib.npz"\n'
    "quantize static { calibrate minmax on calib }\ntarget ort\n"
)
_SETUP = "two_convs.onnx: conv1, relu, conv2, sub in a row"

CODES = {
    "allocate-size": CodeDoc(
        "`allocate` with a bound on the size that no assignment keeps",
        "Even with the choice that takes the fewest bytes for every layer, the file is larger than the bound. What is "
        "told as the smallest is the file that this would give, with `about` where only the plan was looked at; "
        "scales, biases and the graph itself are part of it.",
        _HEAD + "allocate weights from [int8, int4] { minimize loss under size <= 1 KB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-width": CodeDoc(
        "`allocate activations` with a bound on a cost that no choice of widths keeps",
        "Even with the narrowest width for every activation, `activation_bits` or `bops` exceed the bound. What rules "
        "decide, and what pins do, counts with the widths that it has.",
        _HEAD + "allocate activations from [8 bit, 6 bit] { minimize loss under activation_bits <= 5 }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-shape": CodeDoc(
        "what widths of activations, or layers, cost is not known",
        "`activation_bits` is a mean over elements, `bops` and `allocate layers` count multiplications: with free "
        "dimensions neither is known. A free batch counts as 1.",
        'recipe example\nmodel onnx "free.onnx"\ndata calib from npz "calib.npz"\n'
        "quantize static { calibrate minmax on calib }\ntarget ort\n"
        "allocate activations from [8 bit, 6 bit] { minimize loss under activation_bits <= 7 }\n",
        setup="free.onnx: a Conv on a picture of any size",
        verb="plan",
    ),
    "allocate-ranges": CodeDoc(
        "`allocate activations` beside a calibration whose ranges depend on the width",
        "`mse`, `entropy` and `auto` look for the range that loses least in a number of levels, and that number is "
        "what `allocate activations` chooses. The ranges of `minmax` and of a percentile hold for every width.",
        _HEAD.replace("minmax", "mse") + "allocate activations from [8 bit, 6 bit]\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-nothing": CodeDoc(
        "`allocate` without anything to decide",
        "`allocate` decides weights, or activations that are quantized, of which no `layers` or `keep` rule speaks. "
        "Either rules speak of all of them, or no choice can be given to those that are left, or to a group of nodes "
        "that take one choice together.",
        _HEAD
        + "layers all { weights int8 }\nallocate weights from [int8, int4] { minimize loss under size <= 1 MB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-pin": CodeDoc(
        "`pin` or `group` that reaches nothing that `allocate` decides",
        "What a `layers` or `keep` rule decides is not for `allocate` to decide; nor are nodes without weights, and "
        "activations that are not quantized.",
        _HEAD + "allocate weights from [int8, int4] {\n  pin op Relu to int8\n  minimize loss under size <= 1 MB\n}\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-bound": CodeDoc(
        "`allocate` with a goal or a bound that it cannot keep or work towards",
        "`allocate weights` minimizes `loss` under `size <= BYTES` and bounds on metrics, or `size` under these. "
        "Where builds are measured for that, and for `allocate layers`, none of those that were tried may keep to "
        "every bound: then the one nearest to them is shown.",
        _HEAD + "allocate weights from [int8, int4] { minimize latency under size <= 1 MB }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-float": CodeDoc(
        "`allocate` whose answer leaves everything in float",
        "Float types lose nothing. Where one is offered and no bound asks for anything smaller, or nothing smaller "
        "was measured to keep to the bounds, every layer has it, and the build holds the float model.",
        _HEAD + "allocate weights from [int8, float32]\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-loss": CodeDoc(
        "the loss of a choice is not a finite number",
        "A sensitivity overflows, or the network does not compute finite numbers on the samples. Look at these first; "
        "another `sensitivity`, or other data for it, may stay finite.",
        _HEAD + "allocate weights from [int8, int4]\n",
        setup=_SETUP,
        verb="library",
    ),
    "allocate-grown": CodeDoc(
        "an exact choice of types that is too large to follow",
        "Assignments whose bytes and losses all differ stay beside each other until 2^20 of them are known: then "
        "nothing is chosen, rather than something that is not the best. Layers that choose together, and fewer types, "
        "leave fewer of them.",
        _HEAD + "allocate weights from [int8, int4] { minimize loss under size <= 1 MB }\n",
        setup=_SETUP,
        verb="library",
    ),
    "allocate-unsolved": CodeDoc(
        "an exact choice of types under several bounds that the solver did not find",
        "Several bounds on costs are solved by HiGHS, whose answers are added up in integers again. It may end at its "
        "limit of nodes, or name assignments that break a bound by less than it can tell: then nothing is chosen. "
        "One bound needs no solver, and fewer units make it easy.",
        _HEAD + "allocate weights from [int8, int4] { minimize loss under size <= 1 MB }\n",
        setup=_SETUP,
        verb="library",
    ),
    "allocate-data": CodeDoc(
        "a bound of `allocate` whose data cannot decide it",
        "A bound on a metric of a task says on which data it is held. It is not what `evaluate` reports on: of many "
        "choices that are measured on some data, the one that is taken does better there than on any other. What is "
        "of the whole build, such as its size, has no data.",
        _LAYERS + "evaluate fidelity on dev\nallocate layers from [int8, float32] { minimize macs under mse <= 1 on "
        "dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-shared": CodeDoc(
        "samples that choose are among those that are reported on",
        "The data of a bound and that of an `evaluate` have samples in common. What was chosen does better on samples "
        "that chose than on any other, and the figures that `evaluate` reports are too good by as much.",
        _LAYERS + "evaluate fidelity on calib\nallocate layers from [int8, float32] { minimize macs under mse <= 1 "
        "on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-evaluate": CodeDoc(
        "a bound on a metric, and nothing says how the outputs are read for it",
        "Detectors and segmentation need to be told how outputs become boxes or maps. The bound is measured as the "
        "recipe's `evaluate` of that task is, on its own data.",
        _LAYERS + "allocate layers from [int8, float32] { minimize macs under map50 drop <= 1 pp on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-goal": CodeDoc(
        "`allocate layers` without a goal",
        "Layers in integers cost less and lose more: what is to be small, and which bounds have to hold, only the "
        "recipe knows.",
        _LAYERS + "allocate layers from [int8, float32]\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-types": CodeDoc(
        "types of `allocate` that leave nothing to choose, or that cannot stand beside each other",
        "Of `allocate layers` one of the types is that of `quantize`, by its bits: layers that have it are as "
        "`quantize` says. The others are what layers may have instead, such as float32. The types of "
        "`allocate activations` differ in the width alone, since kernels read and write one type: `8 bit` and "
        "`6 bit`, which is emulated in it.",
        _LAYERS + "allocate layers from [int8] { minimize macs under mse <= 1 on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-dominated": CodeDoc(
        "a type that the target does not multiply in",
        "The target stores integers of that type and computes in float behind a conversion: such a layer loses more "
        "than one in float, and takes longer. It is never chosen.",
        _LAYERS + "allocate layers from [int8, int16, float32] { minimize macs under mse <= 1 on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-predicted": CodeDoc(
        "a latency that this machine cannot decide",
        "The recipe names a device, or the target's software is not here. Layers in integers are faster there, as a "
        "rule: types are chosen so that as few multiplications as can be are in float, and nothing is claimed of the "
        "time.",
        _LAYERS.replace("target ort", 'target ort { device "a board" }')
        + "allocate layers from [int8, float32] { minimize latency under mse <= 1 on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
    "allocate-slower": CodeDoc(
        "the types that keep to the bounds save no time",
        "The build was timed in turns with the float model, and is not faster, or not beyond noise: kernels of "
        "integers are made for many channels, and on processors without dot products of integers (VNNI, Arm's "
        "`asimddp`) they are slow.",
        _LAYERS + "allocate layers from [int8, float32] { minimize latency under mse <= 1 on dev }\n",
        setup=_SETUP,
        verb="compile",
    ),
}
