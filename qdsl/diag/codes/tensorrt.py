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
    "newer-opset": CodeDoc(
        "the model is of a newer opset than the target's software is known to read",
        "A parser reads the operators of the opsets that it knows; of newer ones it refuses what has changed since, or "
        "reads it as it was. Which opset a version knows is what its makers say of it; it is no error, since most "
        "operators do not change.",
        _STATIC.replace("model.onnx", "newer.onnx") + 'target tensorrt { version "8.6" }\n',
        setup="newer.onnx: two Convs at opset 21",
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
