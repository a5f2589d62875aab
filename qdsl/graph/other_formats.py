"""Files that are given for an ONNX model and are something else, by their first bytes."""

from __future__ import annotations

from typing import NamedTuple


class Other(NamedTuple):
    """What a file is, in words that follow "it is", and what to give instead."""

    what: str
    cure: str


_PICKLE = Other("a pickle, such as a PyTorch checkpoint", "export the network as ONNX")
_SOURCE = "give the ONNX model that it was made from"
# (where, bytes, what). Of TensorRT and ONNX Runtime's own format the magic numbers, of flatbuffers their identifiers.
_STARTS: tuple[tuple[int, bytes, Other], ...] = (
    (0, b"ftrt", Other("a TensorRT engine", _SOURCE)),
    (0, b"ptrt", Other("a TensorRT engine", _SOURCE)),
    (4, b"TFL3", Other("a TensorFlow Lite model", "convert it with `python -m tf2onnx.convert --tflite`")),
    (4, b"ORTM", Other("a model in ONNX Runtime's own format (.ort)", _SOURCE)),
    (0, b"GGUF", Other("a GGUF file", "give an ONNX export of the same network")),
    (0, b"\x89HDF\r\n\x1a\n", Other("an HDF5 file, such as a Keras model", "export it as ONNX")),
    (0, b"PK\x03\x04", Other("a zip archive, such as a PyTorch checkpoint", "export the network as ONNX")),
    (0, b"\x1f\x8b", Other("compressed with gzip", "unpack it")),
    (0, b"<?xml", Other("XML, such as a model of OpenVINO", "give the ONNX model that it was made from")),
    (0, b"\x80\x02", _PICKLE),
    (0, b"\x80\x03", _PICKLE),
    (0, b"\x80\x04", _PICKLE),
    (0, b"\x80\x05", _PICKLE),
    (0, b"qdsl-lock ", Other("the lock of a recipe", "give the model file that the recipe makes")),
    (0, b"version https://git-lfs", Other("a pointer of Git LFS", "fetch the file itself with `git lfs pull`")),
)
_JSON = Other("JSON, such as the plan of a build", "give the model file of the build, `ort/model.onnx`")
_RECIPE = Other("a recipe", "give the model file that it makes, `build/NAME/ort/model.onnx`")
_SAFETENSORS = Other("a file of weights (safetensors)", "export the network as ONNX")


def recognised(data: bytes) -> Other | None:
    """What a file is that is no ONNX model; None where its first bytes say nothing."""
    for at, start, other in _STARTS:
        if data[at : at + len(start)] == start:
            return other
    if data[8:10] == b'{"' and int.from_bytes(data[:8], "little") <= len(data):
        return _SAFETENSORS
    text = data[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"{", b"[")):
        return _JSON
    return _RECIPE if text.startswith(b"recipe ") or (text.startswith(b"#") and b"\nrecipe " in data[:4096]) else None
