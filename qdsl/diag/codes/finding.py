"""Diagnostic codes of what data, measured ranges and weights show once a plan is carried out."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_RECIPE = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static {{
  weights int8 symmetric {weights}
  activations {activations} per_tensor
  calibrate minmax on calib
}}
{rest}target ort
"""


def _recipe(rest: str = "", *, weights: str = "per_channel", activations: str = "uint8 affine") -> str:
    return _RECIPE.format(weights=weights, activations=activations, rest=rest and f"{rest}\n")


CODES: dict[str, CodeDoc] = {
    "kernels-differ": CodeDoc(
        summary="This CPU computes an output worse than the file says.",
        explanation=(
            "The artifact was run twice: with the runtime's kernels, and with every operator as the file writes it. An "
            "output has lost over 2 dB to the kernels alone. On x86-64 without VNNI (Intel before Cascade Lake, AMD "
            "Zen 1 to 3) products of uint8 and int8 are added in pairs that saturate; by default weights are stored so "
            "that none can: this is seen where `target ort { cpu .. }` names other CPUs than the one at hand. The "
            "notes name the first tensors that part. `--strict` makes it exit 4."
        ),
        example=_recipe(),
        setup="an output with 34 dB as the file says and 13 dB as it runs",
        verb="library",
    ),
    "sums-inexact": CodeDoc(
        summary="A file that is measured as it is has products that not every CPU adds exactly.",
        explanation=(
            "On x86-64 without VNNI (Intel before Cascade Lake, AMD Zen 1 to 3) neighbouring products of uint8 and "
            "int8 are added in saturating int16, and 64-bit Arm without dot product (Raspberry Pi 3 and 4) wraps where "
            "-128 meets -128. The stored integers were looked at as the runtime has them once it has folded constants "
            "and fused nodes, in the order in which its kernels add them: where the sum of two neighbours is past what "
            "16 bits hold beside an activation of 255, some picture may show it. Where two activations meet, any may. "
            "Figures measured on another CPU do not. What qdsl quantizes itself keeps such sums exact."
        ),
        example='recipe example\nmodel onnx "model.onnx"\nquantize none\ntarget ort\n',
        setup="model.onnx is a file of another quantizer whose weights reach 127 side by side",
        verb="compile",
    ),
    "fused-otherwise": CodeDoc(
        summary="A file that is measured as it is computes something else than it says, once it is fused.",
        explanation=(
            "ONNX Runtime fuses a Conv or Gemm between Q/DQ nodes into an integer kernel, which knows a scale per "
            "output channel and a bias in steps of input scale times weight scale. Where the file says otherwise it "
            "fuses all the same: scales along another axis are read as those of the output channels, and the bias of "
            "a Gemm is added in the kernel's steps. A float bias is made int32 in these steps, in any Conv or Gemm "
            "between Q/DQ nodes; one that is too large becomes another number. Of a weight that the file has in floats "
            "there it makes int8, with one scale for all channels. With its optimizations off the "
            "runtime computes what is written, and so may other runtimes: `evaluate` shows both."
        ),
        example='recipe example\nmodel onnx "model.onnx"\nquantize none\ntarget ort\n',
        setup="model.onnx is a file of another quantizer with a scale per input channel in a Conv",
        verb="compile",
    ),
    "signal-lost": CodeDoc(
        summary="Quantization leaves next to nothing of an output or tensor.",
        explanation=(
            "On calibration samples an output of the artifact has under 10 dB beside the float model (the error has a "
            "tenth of the energy of the signal), or a tensor inside the graph under 0 dB. The layer named in the help "
            "is the first where that is so, or where most is lost: a place to begin at, not a cure that was tried."
        ),
        example=_recipe(),
        setup="model.onnx is a Conv whose largest weight meets an input channel of zeros",
        verb="compile",
    ),
    "range-disparity": CodeDoc(
        summary="Tensors of very different ranges share one scale.",
        explanation=(
            "A Concat that is stored as integers, and `share scale across`, put several tensors under one scale. A "
            "tensor whose measured range keeps less than 1 in 16 of the levels (16 of 256) is named: it loses 24 dB "
            "against a scale of its own. The cure was tried: with it, the recipe plans and the tensor keeps its steps. "
            'Where the loss is meant, write `allow shared_range on X because "..."`.'
        ),
        example=_recipe(),
        setup="model.onnx joins two convolutions, one of which writes values 1000 times as large",
        verb="compile",
    ),
    "weight-disparity": CodeDoc(
        summary="Weights with one scale per tensor lose whole channels.",
        explanation=(
            "Channels that are over 100 times smaller than the largest one keep -1, 0 and 1 of an int8 scale that all "
            "of them share. A scale per channel costs nothing where the target takes it. Channels a million times "
            "smaller are switched off and do not count."
        ),
        example=_recipe(weights="per_tensor"),
        setup="model.onnx is a Conv with a channel 1000 times smaller than the others",
        verb="compile",
    ),
    "range-by-hand": CodeDoc(
        summary="A range by hand does not fit what the tensor holds.",
        explanation=(
            "Held against a few calibration samples: what the range cuts off has more than 1 % of the tensor's energy "
            "(it then agrees with the float model to less than 20 dB), or more than half of the values lie outside, or "
            "the range is so wide that the values keep less than 1 in 16 of its levels. Cutting rare outliers is "
            "none of these. Without data nothing is said."
        ),
        example=_recipe('layers tensor "y" { range [0, 0.001] }'),
        setup="model.onnx and calib.npz",
        verb="compile",
    ),
    "range-cut": CodeDoc(
        summary="Ranges stop where what reads the tensor is flat.",
        explanation=(
            "A Sigmoid or SiLU reads nothing new below -8, a HardSwish below -3, a Softmax nothing far below the "
            "largest value of a row, as masked places are (-10000, the lowest float, minus infinity). Where nothing "
            "else reads a tensor, its measured range is cut there and its steps go to what is read; so is that of a "
            "mask that is added, and of the constant that a Where puts in. The rows of the target's table say where. A "
            "range by hand is never cut. What is measured stays in the lock as it was."
        ),
        example=_recipe(),
        setup="model.onnx adds a mask of -10000 to scores before a Softmax",
        verb="compile",
    ),
    "few-levels": CodeDoc(
        summary="An activation function that saturates reads few levels.",
        explanation=(
            "A Sigmoid tells values from -8 to 8 apart, a Softmax those up to 16 below the largest of a row. Where the "
            "scale of what they read is so wide that under 32 levels lie in that span, a step changes a Sigmoid by up "
            "to an eighth. The cure was tried: with it, the recipe plans and nothing of this kind is left."
        ),
        example=_recipe(),
        setup="model.onnx is a SiLU whose input reaches 1000",
        verb="compile",
    ),
    "not-compared": CodeDoc(
        summary="Nothing was found to compare the artifact with the float model on.",
        explanation=(
            "A build that needs no calibration is compared on data of the recipe, else on drawn inputs (uniform from 0 "
            "to 1, a free first dimension as 1, other free dimensions in several sizes until the float model runs). "
            "Where it runs on none of them, how much the build loses is not known; so it is of a target that does not "
            "run on this machine."
        ),
        example="""recipe example
model onnx "model.onnx"
quantize dynamic {
  weights int8
  activations uint8
}
layers all { weights int8 }
target ort
""",
        setup="model.onnx takes any number of rows, and runs on 100 alone",
        verb="compile",
    ),
    "data-flat": CodeDoc(
        summary="Pictures of a dataset are of one colour, or samples hold one value alone.",
        explanation=(
            "No channel of such a picture has a standard deviation of 2 (of 255): a covered lens, an empty scan. Of "
            "arrays that are no pictures all values are equal, or all those of each channel: zeros that were never "
            "filled. Such a sample widens no range and says nothing about accuracy. Samples are looked at while they "
            "are measured, not when the ranges come from the lock."
        ),
        example=_recipe()
        .replace('npz "calib.npz"', 'images "photos"')
        .replace("data", "input { resize 8 stretch }\ndata"),
        setup="a folder photos with a black picture",
        verb="compile",
        cure="take them out of the dataset",
    ),
    "budget-broken": CodeDoc(
        summary="A `require` does not hold.",
        explanation=(
            "The figure and its bound stand in the report; `compile` ends with exit code 4. What to try next was tried "
            "before it is told: changes of the recipe that often help against a budget of this kind are planned, built "
            "with the ranges of this build, and held against the float model on a few samples; the two best, and the "
            "best that calibrates by another method, are evaluated on the same data. Ranges by another method come "
            "from 64 samples at most, spread over the data, and the line says from how many. The notes hold what came "
            "of each change. For size and the share in integers the plan decides. Nothing of it is kept. Budgets on "
            "widths (`activation_bits`, `bops`) are told by `plan`, too."
        ),
        example=_recipe() + "evaluate fidelity on calib { require sqnr >= 200 dB }\n",
        setup="model.onnx and calib.npz",
        verb="compile",
        cure="change the recipe or the budget",
    ),
    "verdict-moved": CodeDoc(
        summary="With the measured ranges, a node runs otherwise than planned.",
        explanation=(
            "A plan is made without data and takes the cautious side: whether a QuantizeLinear makes a Clip redundant "
            "may depend on the range. The file is as planned; the runtime drops the Clip by itself."
        ),
        example=_recipe(activations="int8 symmetric"),
        setup="model.onnx clips a convolution far outside of its values",
        verb="compile",
    ),
}
