"""Diagnostic codes of quantizing, emitting and verifying."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_STATIC = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights int8 symmetric per_channel; activations uint8 affine per_tensor; calibrate minmax on calib }
target ort
"""

# No calibration, so that what is wrong with the float model is found later.
_BY_HAND = _STATIC + 'layers tensor "*" { range [0, 1] }\n'

_AS_IT_IS = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize none
target ort
"""

CODES: dict[str, CodeDoc] = {
    "weight-not-finite": CodeDoc(
        "a constant that is to be quantized holds NaN or infinity",
        "A scale is found from the smallest and the largest value of a weight, so one value that is not a number "
        "spoils its whole channel. The message names the tensor and where the first such value stands.",
        _STATIC,
        setup="model.onnx is a Conv whose weight holds a NaN",
        verb="library",
        cure="export the model again from a checkpoint without NaN and infinity",
    ),
    "range-not-finite": CodeDoc(
        "the range of a tensor holds NaN or infinity",
        "Calibration found, or was given, a range without end. No scale covers it. The first layer whose values "
        "overflow float32 is the one to look at.",
        _STATIC,
        setup="the range of x is infinite",
        verb="library",
    ),
    "range-missing": CodeDoc(
        "a tensor that the plan quantizes was never measured",
        "Every quantized tensor needs a range: from calibration, by hand (`range [lo, hi]`), or from another tensor "
        "whose scale it shares. Ranges of another plan, or of another model, do not fit this one.",
        _STATIC,
        setup="the ranges lack x",
        verb="library",
    ),
    "bias-scale-overflow": CodeDoc(
        "a bias has no int32 scale",
        "A bias is stored at input scale times weight scale. When that product is past float32, inputs or weights hold "
        "values so large that eight bits cannot describe them.",
        _STATIC,
        setup="model.onnx is a Conv whose input and weight reach 1e35",
        verb="compile",
    ),
    "artifact-write": CodeDoc(
        "the artifact cannot be written",
        "Everything is written aside and renamed, so a full disk or a missing permission leaves what was there before.",
        _STATIC,
        setup="a file stands where the target's folder should be",
        verb="compile",
        cure="clear the path, or give another folder with `--out`",
    ),
    "artifact-invalid": CodeDoc(
        "the model, or what quantizing makes of it, is not valid ONNX",
        "ONNX's own checker reads the model before anything is planned, and each artifact before it is put in its "
        "place. An attribute that an operator does not have is what it most often refuses.",
        _BY_HAND,
        setup="model.onnx has a Relu with an attribute of its own",
        verb="plan",
        cure="export the model again, or mend what it names",
    ),
    "artifact-refused": CodeDoc(
        "ONNX Runtime does not load or run a model",
        "The artifact is run beside the float model on calibration samples. Fusing operators with the Q/DQ pairs "
        "around them, the runtime may make something that it refuses itself; `qdsl plan` knows of some such places. A "
        "float model that does not load is told before (`calibration-load`).",
        _AS_IT_IS,
        setup="model.onnx has an AveragePool with dilations between Q/DQ pairs",
        verb="compile",
        cure="`keep` in float32 what it names; a file from elsewhere is for whoever made it to mend",
    ),
}
