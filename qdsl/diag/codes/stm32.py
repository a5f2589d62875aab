"""Diagnostic codes of the STM32 target."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_STATIC = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
"""

CODES: dict[str, CodeDoc] = {
    "stm32-no-form": CodeDoc(
        "an operator has no form in the integer graph that C is made of",
        "Its operator has kernels, but not as the model uses it: padding below 0, windows that reach beyond the "
        "padding, coordinates of a Resize that are computed otherwise.",
        _STATIC + "target stm32\n",
        "model.onnx cuts its borders off with a Pad",
        "compile",
    ),
    "stm32-board": CodeDoc(
        "the device of a `target stm32` is not known",
        "The device says how much flash and RAM there is, at which addresses, how fast the core is and what it can. "
        "Leave it out for a board that is not known: the C is the same, and nothing is predicted of the board.",
        _STATIC + 'target stm32 { device "STM32H7B3-DK" }\n',
    ),
}
