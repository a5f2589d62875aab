"""The text in which TensorRT-RTX prints the layers of a finished engine, one a line:

    Name: .., LayerType: correlation, Inputs: [ { Name: .., Datatype: Int8, .. }], Constants: [ {..}], Outputs: [ {..}],
    TacticName: .., StreamId: 0, Metadata: [ONNX Layer: conv][ONNX Layer: a_DQ]

`Constants` may be missing, and a layer that moves sizes to the host has a `TacticValue` instead of a name. A node
behind an If or a Loop is told with what stands before it: `[ONNX Layer: conv | outer (If)]`. It is the one-line form of
what an engine inspector says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from qdsl.spec.bounds import UnfitError

_NAME = re.compile(r"Name: (.*?), LayerType: (\w+), ")
_TYPE = re.compile(r"\{ Name: [^{}]*?Datatype: (\w+)")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_MARK = "LayerType: "
_WITHIN = " | "
# What the name of a tensor, or of a node, must not hold, or the text around it would read otherwise.
_FIELDS = ("Name", "LayerType", "Inputs", "Constants", "Outputs", "TacticName", "TacticValue", "Datatype", "Metadata")
_WORDS = "|".join((*(f"{each}: " for each in (*_FIELDS, "ONNX Layer")), "Layers:"))
AMBIGUOUS_TENSOR = re.compile(rf"[{{}}\x00-\x1f\x7f]|{_WORDS}")
AMBIGUOUS_NODE = re.compile(rf"[\[\]{{}}\x00-\x1f\x7f]| \| |{_WORDS}")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its kind ("correlation", "gemm", "kgen", ..), the types of what it reads, of its constants and of what
    it writes ("Int8", "Float", ..), and the nodes of the file that it stands for."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    constants: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]


def layers(text: str) -> tuple[Layer, ...]:
    """Every layer of the text, in its order. Raises UnfitError for text that is not of that form."""
    found = tuple(_layer(line) for line in text.splitlines() if _MARK in line)
    if not found:
        raise UnfitError("the text of the engine holds no layer")
    return found


def _layer(line: str) -> Layer:
    head = _NAME.match(line.strip())
    inputs, outputs, end = (line.find(word) for word in ("Inputs: ", "Outputs: ", "TacticName: "))
    end = line.find("TacticValue: ") if end < 0 else end
    if head is None or not 0 <= inputs < outputs < end:
        raise UnfitError(f"a layer that cannot be read: {line.strip()[:80]!r}")
    constants = line.find("Constants: ", inputs, outputs)
    first = constants if constants >= 0 else outputs
    return Layer(
        head[1],
        head[2],
        tuple(_TYPE.findall(line[inputs:first])),
        tuple(_TYPE.findall(line[first:outputs])),
        tuple(_TYPE.findall(line[outputs:end])),
        tuple(name.strip("\x1f").partition(_WITHIN)[0] for name in _NODE.findall(line)),
    )
