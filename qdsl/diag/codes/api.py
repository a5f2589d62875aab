"""Diagnostic codes of the library calls and the command line themselves."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
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
