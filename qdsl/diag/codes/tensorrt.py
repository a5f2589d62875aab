"""Diagnostic codes of the TensorRT target."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

_STATIC = """recipe example
model onnx "model.onnx"
data calib from npz "calib.npz"
quantize static { weights int8 symmetric per_channel; activations int8 symmetric per_tensor; calibrate minmax on calib }
"""

CODES: dict[str, CodeDoc] = {
    "tensorrt-version": CodeDoc(
        "the version of a `target tensorrt` is none that files are emitted for",
        "What is emitted depends on TensorRT's version: whether its builder chooses types, which options trtexec "
        "takes, what the scripts may call. A version is written as major and minor number.",
        _STATIC + 'target tensorrt { version "9.3" }\n',
    ),
    "tensorrt-device": CodeDoc(
        "the device of a `target tensorrt` is not known",
        "The device says which compute capability the kernels need, how much memory a build may take, whether there is "
        "a DLA, and where trtexec lies. Leave it out for a device that is not known.",
        _STATIC + 'target tensorrt { device "jetson-orinano" }\n',
    ),
    "device-unsaid": CodeDoc(
        "a type runs on some devices alone, and the recipe names none",
        "float8 needs a GPU of compute capability 8.9 or more (Ada, Hopper and later): on others TensorRT refuses to "
        "build the engine. With `device` in the target this is known: the type is then taken, or refused.",
        _STATIC.replace("model.onnx", "two_convs.onnx")
        .replace("int8 symmetric per_channel", "float8")
        .replace("int8 symmetric per_tensor", "float8")
        + "target tensorrt\n",
        setup="two_convs.onnx: conv1, relu, conv2, sub in a row",
        verb="plan",
    ),
    "tensorrt-device-version": CodeDoc(
        "the device of a `target tensorrt` does not get that version",
        "TensorRT on a Jetson comes with JetPack: JetPack 6 stays at 10.x, and 11.x needs JetPack 7.2.2 or later. What "
        "is made for a version that the device never gets cannot be built there. It is a warning where the version "
        "exists for the device and no JetPack is known to bring it.",
        _STATIC + 'target tensorrt { version "11.1"; device "jetson-orin-nano" }\n',
    ),
}
