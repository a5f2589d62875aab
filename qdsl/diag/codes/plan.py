"""Diagnostic codes raised while planning."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_HEAD = """recipe {name}
model onnx "two_convs.onnx"
data calib from npz "calib.npz" {{ take 4 }}
quantize static {{
  weights int8 symmetric per_channel
  activations uint8 affine per_tensor
  calibrate {calibrate}
}}
{rest}
"""


def _recipe(rest: str, calibrate: str = "minmax on calib", target: str = "target ort") -> str:
    return _HEAD.format(name="example", calibrate=calibrate, rest=f"{rest}\n{target}".strip())


def _dynamic(rest: str) -> str:
    """A dynamic recipe; a setting of `quantize`, or a statement, is put in."""
    head = 'recipe example\nmodel onnx "two_convs.onnx"\ndata calib from npz "calib.npz"\n'
    inside, after = ("", rest) if rest.startswith("layers") else (f"; {rest}", "")
    return f"{head}quantize dynamic {{ weights 8 bit{inside} }}\n{after}\ntarget ort\n"


_MODEL = "two_convs.onnx: conv1, relu, conv2, sub in a row"

CODES: dict[str, CodeDoc] = {
    "rule-conflict": CodeDoc(
        summary="Two rules ask for opposite things by different words.",
        explanation=(
            "`keep` and `layers`, `place` and `activations float32`, or two ranges by hand under one scale contradict "
            "each other, and neither word is stronger. Rules of the same word are no conflict: the later wins. `layers "
            "all` speaks of whatever no `keep` takes out. Take the nodes out of one of the two, for example with "
            "`and not under ...`."
        ),
        example=_recipe("keep op Conv in float32\nlayers op Conv { weights int8 per_tensor }"),
        setup=_MODEL,
        verb="plan",
    ),
    "calibration-cache": CodeDoc(
        summary="A file is not a calibration cache of TensorRT.",
        explanation=(
            "The first line is `TRT-<version>-<calibration>`; each other line is a tensor's name, a colon and the bits "
            "of its scale in hexadecimal, most significant first. No tensor stands twice, and no scale is negative."
        ),
        example=_recipe("", 'from cache "calib.cache"'),
        setup=f"{_MODEL}, and a calib.cache with a line that has no colon",
        verb="plan",
    ),
    "cache-lacks": CodeDoc(
        summary="A calibration cache has no range of a tensor that is to take one from it.",
        explanation=(
            "Ranges are taken by the names that tensors have in the model. TensorRT made up names for what has none "
            "there (`(Unnamed Layer* 12) [..]_output`), and has no entry for what it fused before it calibrated. What "
            "the cache lacks gets its range from another rule: `layers tensor .. { calibrate .. on D }`, or `range`."
        ),
        example=_recipe("", 'from cache "calib.cache"'),
        setup=f"{_MODEL}, and a calib.cache of another model",
        verb="plan",
    ),
    "target-cannot": CodeDoc(
        summary="The target cannot do what the recipe asks of it.",
        explanation=(
            "The target's table says which types it computes in, which it only stores and which it does not know "
            "(`qdsl targets`). A type that it stores but does not compute in needs `storage_only`: the file gets "
            "smaller, the operator runs in float."
        ),
        example=_recipe("layers op Conv { weights int16 }"),
        setup=_MODEL,
        verb="plan",
    ),
    "float-island": CodeDoc(
        summary="Operators stay float between integers, at the price of a Q and a DQ.",
        explanation=(
            "An operator without an integer kernel that stands between integers is reached through a DequantizeLinear "
            "and left through a QuantizeLinear: every value is read and written once more. Many small islands can "
            "make a build slower than float. `qdsl explain NODE` says why a node stays float; exported anew with "
            "operators that have a kernel (`qdsl targets`), it goes away."
        ),
        example=_recipe('place { quantize outputs of "conv1" }').replace("uint8 affine", "int8 symmetric"),
        setup=_MODEL,
        verb="plan",
    ),
    "nothing-to-correct": CodeDoc(
        summary="`bias_correct` has no bias to move.",
        explanation=(
            "It makes up for what rounded weights add to the mean of each output channel, in the int32 bias of a Conv "
            "or Gemm, by the means of its input over calibration data. `quantize dynamic` and `quantize float` have "
            "neither such biases nor such data; a range by hand has no data, and a Conv without a bias has nothing to "
            "move."
        ),
        example=_recipe("improve { bias_correct }").replace("calibrate minmax on calib", "range [-4, 4]"),
        setup=_MODEL,
        verb="plan",
    ),
    "nothing-to-equalize": CodeDoc(
        summary="`equalize` has no two layers to move range between.",
        explanation=(
            "It divides what one Conv, ConvTranspose or Gemm writes per channel, and multiplies the weights of the one "
            "that reads it. Between them a scale has to pass through: Relu and its leaky forms, Clip at 0 and above, "
            "pooling, padding with zeros, a Flatten. Nothing else may read the channels (a residual addition, a SiLU, "
            "a graph output), and channels whose weights span alike ranges are left alone. The notes name the nearest "
            "misses."
        ),
        example=_recipe("improve { equalize }").replace("two_convs.onnx", "model.onnx"),
        setup="model.onnx is a float Conv that nothing is wrong with",
        verb="plan",
    ),
    "nothing-to-round": CodeDoc(
        summary="`round adaptive` has no weight to round.",
        explanation=(
            "It chooses the integers of weights of Conv, Gemm and MatMul, of 8 bits and less, so that each layer "
            "writes what it writes in float for calibration data. `quantize dynamic` has no such data, and "
            "neither has a recipe whose ranges are all given by hand."
        ),
        example=_recipe("improve { round adaptive }").replace("calibrate minmax on calib", "range [-4, 4]"),
        setup=_MODEL,
        verb="plan",
    ),
    "equalize-costs": CodeDoc(
        summary="`equalize` stands beside weights with a scale per channel, and behind a Clip that costs.",
        explanation=(
            "Weights with a scale per channel lose nothing by channels of unequal range. Behind a Clip `equalize` "
            "gives each channel a bound of its own, and what it writes keeps one scale: a channel whose bound is lower "
            "gets fewer of its levels than before. Take `equalize` out, or give the weights one scale."
        ),
        example=_recipe("improve { equalize }").replace("two_convs.onnx", "clipped.onnx"),
        setup="clipped.onnx is two Convs with channels of unequal range, and a Clip between them",
        verb="plan",
    ),
    "dynamic-range": CodeDoc(
        summary="A dynamic build finds its ranges while the model runs.",
        explanation=(
            "`calibrate`, `range` and `share scale across` decide scales before the model runs. In `quantize dynamic` "
            "each tensor takes the range that it has at that moment, so they have nothing to decide. Take them out, or "
            "write `quantize static`."
        ),
        example=_dynamic("calibrate minmax on calib"),
        setup=_MODEL,
        verb="plan",
    ),
    "slow-weights": CodeDoc(
        summary="The target computes with these weights, but slowly, where another type or form stores them as well.",
        explanation=(
            "The table of a target says which 8 bit type each of its kernels is made for, and which forms it is not "
            "made for, such as a zero point per channel in a depthwise Conv. `weights 8 bit` takes the right type; "
            "what a recipe names is taken as it is written."
        ),
        example=_dynamic("layers op Conv { weights int8 }"),
        setup=_MODEL,
        verb="plan",
    ),
    "slow-kernel": CodeDoc(
        summary="Layers in integers have shapes for which the target has no fast kernel.",
        explanation=(
            "Few channels, depthwise layers, products of a vector, a 7x7 kernel on pictures: TensorRT computes them in "
            "int8, and may take longer than in float16. Time both on the device: `keep X in float16` leaves them out."
        ),
        example=_recipe("", target="target tensorrt { quantize static { activations 8 bit } }"),
        setup=_MODEL,
        verb="plan",
    ),
    "not-yet": CodeDoc(
        summary="The statement is understood but not carried out by this version.",
        explanation=(
            "The language is checked as a whole, so that recipes keep their meaning. What nothing carries out is an "
            "error where it would change the result: it is never passed over."
        ),
        example=_recipe('passes { use "./mine.rule" before quantize }'),
        setup=_MODEL,
        verb="compile",
    ),
    "undecided": CodeDoc(
        summary="A budget cannot be decided by this version, or not on this machine.",
        explanation=(
            "`compile` decides the size of files, what an `evaluate` of the recipe measures, and what a profile on "
            "this machine shows where no `device` decides. The rest stays undecided: it counts neither as held nor as "
            "broken."
        ),
        example=_recipe("", target='target ort { device "a board"; require latency <= 9 ms }'),
        setup=_MODEL,
        verb="compile",
    ),
    "setting-unused": CodeDoc(
        summary="A setting can be applied to nothing that its rule picks.",
        explanation=(
            "A setting passes over picked nodes that it cannot apply to, and the plan counts them; when none is left "
            "the rule does nothing, which is never what was meant. `weights` needs nodes with constant weights; "
            "`activations`, `range` and `calibrate` need tensors that hold a Q/DQ pair."
        ),
        example=_recipe("layers op Relu { weights int8 }"),
        setup=_MODEL,
        verb="plan",
    ),
    "share-mismatch": CodeDoc(
        summary="Tensors of different types cannot share a scale.",
        explanation="One scale and zero point need one type, one symmetry and one width: give both the same.",
        example=_recipe(
            'layers tensor "relu_out" { activations int8 symmetric }\n'
            'place { share scale across tensor ["relu_out", "x"] }'
        ),
        setup=_MODEL,
        verb="plan",
    ),
    "calibration-missing": CodeDoc(
        summary="Nothing says which data the ranges are measured on.",
        explanation="A static recipe measures the range of each activation: `calibrate minmax on DATA` names the data.",
        example="""recipe example
model onnx "two_convs.onnx"
quantize static { weights int8; activations uint8 }
target ort
""",
        setup=_MODEL,
        verb="plan",
    ),
    "nothing-to-quantize": CodeDoc(
        summary="No node of the model can be quantized as the recipe asks.",
        explanation=(
            "The model has no operator with an integer kernel on this target that has float32 data and constant "
            "weights, or the recipe keeps all of them in float."
        ),
        example=_recipe("keep all in float32"),
        setup=_MODEL,
        verb="plan",
    ),
    "shared-range": CodeDoc(
        summary="Boxes and scores would share one scale.",
        explanation=(
            "A Concat that joins box coordinates (hundreds of pixels) with scores (0..1) stores both under one scale, "
            "so that the scores keep one or two values. Keep the decoding in float, or silence the flag with "
            '`allow shared_range on X because "..."`.'
        ),
        example=_recipe("").replace("two_convs.onnx", "detector.onnx"),
        setup="detector.onnx: a detector whose decoding ends in one Concat",
        verb="plan",
    ),
    "already-quantized": CodeDoc(
        summary="The model is quantized already.",
        explanation=(
            "The model holds QuantizeLinear or operators on integers. A recipe starts from the float model: what was "
            "rounded once cannot be calibrated again, and two layers of Q/DQ nodes fuse with nothing. "
            "`quantize none` measures such a file as it is."
        ),
        example=_recipe("").replace("two_convs.onnx", "quantized.onnx"),
        setup="quantized.onnx: a Conv behind QuantizeLinear and DequantizeLinear",
        verb="plan",
    ),
    "no-float-model": CodeDoc(
        summary="A file is measured as it is, and there is no float model to compare it with.",
        explanation=(
            "Under `quantize none` the file is the artifact. What stands as `float` beside it is the same file with "
            "every node run by itself: the arithmetic that its nodes say, without the kernels that the runtime fuses. "
            "Budgets on `drop`, `ratio` or `speedup` would compare with a float model, and are refused."
        ),
        example='recipe example\nmodel onnx "quantized.onnx"\nquantize none\ntarget ort\n',
        setup="quantized.onnx: a Conv behind QuantizeLinear and DequantizeLinear",
        verb="plan",
    ),
    "mode-missing": CodeDoc(
        summary="The recipe does not say how to quantize.",
        explanation="Every recipe that is planned needs a `quantize` statement, in it, in its base or in the target.",
        example="""recipe example
model onnx "two_convs.onnx"
target ort
target tensorrt { quantize static { weights int8; activations int8 } }
""",
        setup=_MODEL,
        verb="plan",
        cure="write `quantize static { ... }`",
    ),
    "unknown-name": CodeDoc(
        summary="No node or tensor of the model has this name.",
        explanation="`qdsl explain` takes the full name of a node or tensor, as `qdsl plan` shows it.",
        example=_recipe(""),
        setup=_MODEL,
        verb="explain",
        cure="`qdsl plan` shows the names of all nodes",
    ),
    "plan-file": CodeDoc(
        summary="A plan.json cannot be read.",
        explanation="The file is damaged, or another version of the program wrote it. Plans are cheap: make it anew.",
        example=_recipe(""),
        setup="plan.json of another version",
        verb="library",
    ),
}
