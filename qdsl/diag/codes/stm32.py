"""Diagnostic codes of the STM32 target."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_STATIC = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights 8 bit; activations 8 bit; calibrate minmax on calib }
"""

CODES: dict[str, CodeDoc] = {
    "stm32-board": CodeDoc(
        "the device of a `target stm32` is not known",
        "The device says how much flash and RAM there is, at which addresses, how fast the core is and what it can. "
        "Leave it out for a board that is not known: the C is the same, and nothing is predicted of the board.",
        _STATIC + 'target stm32 { device "STM32H7B3-DK" }\n',
    ),
}
