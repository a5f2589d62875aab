"""Small finished graphs in ONNX's text form, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from qdsl.finished.reading import read
from qdsl.finished.records import Finished, QuantizedTensor
from qdsl.graph import from_proto, load

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "testdata"
CORPUS = SHARED / "audit_corpus"
HEADER = '<ir_version: {ir}, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'


def read_text(graph: str, opset: int = 21, ir: int = 10) -> Finished:
    """What is read of a graph in text form, without its header."""
    return read(from_proto(onnx.parser.parse_model(HEADER.format(ir=ir, opset=opset) + graph)))


def read_corpus(name: str) -> Finished:
    """What is read of a file that another tool made. Skips where the files are absent."""
    if not (CORPUS / name).exists():
        pytest.skip("needs ../shared/testdata/audit_corpus")
    return read(load(CORPUS / name))


def of_tensor(finished: Finished, tensor: str) -> QuantizedTensor:
    """The only record of `tensor`."""
    (found,) = [each for each in finished.tensors if each.tensor == tensor]
    return found


def rules(finished: Finished) -> list[str]:
    """The rules that tell its faults."""
    return [fault.rule for fault in finished.faults]
