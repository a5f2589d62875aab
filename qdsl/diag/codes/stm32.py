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
    "latency-impossible": CodeDoc(
        "a latency is demanded that the core of the device cannot reach",
        "A Cortex-M with DSP instructions adds two products per cycle (SMLAD), one without half a product. What "
        "fetching weights and activations leaves of that is predicted as a range, from what others have published.",
        _STATIC.replace("model.onnx", "two_convs.onnx")
        + 'target stm32 { device "NUCLEO-F446RE"; require latency <= 10 us }\n',
        "two_convs.onnx: conv1, relu, conv2, sub in a row",
        "plan",
    ),
    "latency-predicted": CodeDoc(
        "what a run takes on the device is predicted, as a range",
        "Nothing here is that device. The range comes from what others have published for its core, in cycles per "
        "multiplication (docs/stm32.md); it decides no budget.",
        _STATIC + 'target stm32 { device "STM32H7B3I-DK" }\n',
        "model.onnx is a Conv and a Neg of it",
        "compile",
    ),
    "board-too-small": CodeDoc(
        "the C takes more memory than the device has",
        "The arena holds what lives at the same time, in one piece of RAM; weights and tables lie in flash. `optimize "
        "ram` takes the smallest arena that there is a plan for.",
        _STATIC + 'target stm32 { device "B-L475E-IOT01A"; optimize ram }\n',
        "model.onnx is a Conv of a picture of 256 x 256 pixels",
        "compile",
    ),
    "st-files": CodeDoc(
        "reports of ST's tool do not tell one run, or are of nothing in the build",
        "`qdsl report BUILD --add` takes in what ST Edge AI Core wrote of the file in `stedgeai/` of `target stm32`: "
        "network_c_info.json, network_*_report.txt, network_report.json. They have to be of one run: another version, "
        "another model or other sizes in one of them mean another one.",
        "recipe example\n",
        verb="library",
    ),
    "st-overlap": CodeDoc(
        "two buffers of the memory plan that ST's tool told lie over each other while both are in use",
        "network_c_info.json says where each buffer lies and from when to when it is needed. What a node writes over "
        "its own input is meant to be so: its kernel reads ahead. Any other two that meet would spoil each other's "
        "values, and so would one that ends beyond its pool.",
        "recipe example\n",
        verb="library",
    ),
    "stm32-board": CodeDoc(
        "the device of a `target stm32` is not known",
        "The device says how much flash and RAM there is, at which addresses, how fast the core is and what it can. "
        "Leave it out for a board that is not known: the C is the same, and nothing is predicted of the board.",
        _STATIC + 'target stm32 { device "STM32H7B3-DK" }\n',
    ),
}
