"""What is given for a model and is none is told by what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qdsl.diag import QdslError
from qdsl.graph import load
from qdsl.graph.other_formats import recognised

GIVEN = {
    "engine": (b"ftrt" + bytes(64), "a TensorRT engine"),
    "model.tflite": (b"\x20\0\0\0TFL3" + bytes(64), "a TensorFlow Lite model"),
    "model.ort": (b"\x20\0\0\0ORTM" + bytes(64), "a model in ONNX Runtime's own format"),
    "model.gguf": (b"GGUF" + bytes(64), "a GGUF file"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "model.pt": (b"PK\x03\x04" + bytes(64), "a zip archive"),
    "model.onnx.gz": (b"\x1f\x8b\x08" + bytes(64), "compressed with gzip"),
    "model.xml": (b'<?xml version="1.0"?>', "XML"),
    "model.safetensors": (b'\x0a\0\0\0\0\0\0\0{"a": 1}  ', "a file of weights"),
    "plan.json": (json.dumps({"version": 99, "recipe": "a"}).encode(), "JSON, such as the plan of a build"),
    "model.pkl": (b"\x80\x04" + bytes(64), "a pickle"),
    "recipe.lock": (b"qdsl-lock 1\nrecipe ", "the lock of a recipe"),
    "recipe.q": (b"# words\nrecipe a\n", "a recipe"),
}


@pytest.mark.parametrize("name", GIVEN)
def test_another_kind_of_file_is_named(name: str, tmp_path: Path) -> None:
    data, what = GIVEN[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(QdslError) as caught:
        load(tmp_path / name)
    (found,) = caught.value.diagnostics
    assert found.code == "model-unreadable" and f"`{name}` is not an ONNX model: it is {what}" in found.headline
    assert found.help


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(QdslError, match="is empty"):
        load(tmp_path / "model.onnx")


@pytest.mark.parametrize("data", [b"", b"\x08", bytes(16), b"\xff\xd8\xff\xe0 a picture", b"text"])
def test_what_nothing_shows_is_not_guessed(data: bytes) -> None:
    assert recognised(data) is None
