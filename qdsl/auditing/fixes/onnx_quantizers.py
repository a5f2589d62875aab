"""Turn QuantizeLinear and DequantizeLinear of com.microsoft into those of ONNX, which are the same.

Refused: types that the opset of the file does not have them for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qdsl.auditing.fixes.mend import FixOf
from qdsl.finished.records import Parameters
from qdsl.graph import Model
from qdsl.graph.edit import become
from qdsl.rewrite import Changes, Outcome
from qdsl.spec import Granularity

_MICROSOFT = "com.microsoft"
_FIRST, _AXES, _HALF, _SIXTEEN = 10, 13, 19, 21
_SINCE = {"int8": _FIRST, "uint8": _FIRST, "int32": _FIRST, "int16": _SIXTEEN, "uint16": _SIXTEEN, "int4": _SIXTEEN}


@dataclass(frozen=True)
class Mend(FixOf):
    """No options of its own."""

    name: ClassVar[str] = "onnx_quantizers"
    summary: ClassVar[str] = "turn Q and DQ of com.microsoft into those of ONNX"

    def apply(self, model: Model) -> Outcome:
        changes = Changes()
        for node in self.quantizing(model, "QuantizeLinear", "DequantizeLinear"):
            if node.domain != _MICROSOFT:
                continue
            since = _since(self.at[node.name].parameters)
            if since is None or model.opset < since:
                changes.refuse(node.name, f"opset {model.opset} of ONNX has no such type")
                continue
            changes.fire(self.name, [node.name])
            become(model, node, node.op, list(node.inputs), dict(node.attrs))
        return changes.outcome()


def _since(found: Parameters) -> int | None:
    """The first opset whose operators take it."""
    since = _SINCE.get(found.element)
    if since is None:
        return None
    several = _AXES if found.granularity is not Granularity.PER_TENSOR else _FIRST
    return max(since, several, _FIRST if found.scale_element == "float32" else _HALF)
