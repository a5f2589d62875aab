"""Diagnostic codes of the library calls and the command line themselves."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "tune-data": CodeDoc(
        summary="`tune` has no samples to run",
        explanation="`tune latency` runs builds on the first samples of the calibration, of `on DATA`, or of any data\n"
        "of the recipe; without data it draws inputs, but none whose size is unknown or beyond 64 M elements.",
        example="""recipe example
model onnx "free.onnx"
input { shape [1, 3, 16384, 16384] }
quantize static { weights int8; activations uint8; range [-1, 1] }
tune latency { trials 1 }
target ort
""",
        setup="free.onnx: a Conv on a picture of any size",
        verb="compile",
    ),
    "code-unknown": CodeDoc(
        summary="`qdsl explain` was given a word that is no diagnostic code",
        explanation="With one word, `qdsl explain` looks up a diagnostic code. To explain a node or tensor, name the\n"
        "recipe first and the node or tensor after it.",
        example="",
        verb="explain",
    ),
    "target-not-in-recipe": CodeDoc(
        summary="`--target` names a target that the recipe does not have",
        explanation="`--target` picks one of the recipe's own `target` statements; it does not add one.",
        example="""recipe example
model onnx "two_convs.onnx"
data calib from npz "calib.npz"
quantize static { weights int8; activations uint8; calibrate minmax on calib }
target ort
""",
        setup="two_convs.onnx: conv1, relu, conv2, sub in a row",
        verb="plan",
    ),
}
