"""What a fork server preloads for `odd_corpus`: all that a compilation imports when it is used, which takes most of the
time of a small one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from odd_corpus import examine

MODEL = '<ir_version: 8, opset_import: ["": 17]> net (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }'

with TemporaryDirectory() as temporary:
    file = Path(temporary) / "model.onnx"
    onnx.save(onnx.parser.parse_model(MODEL), file)
    folder = Path(temporary) / "build"
    folder.mkdir()
    examine(file, file.name, folder)
