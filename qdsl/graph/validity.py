"""What ONNX's own checker says of a model, asked without its weights."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import ModelProto, TensorProto

from qdsl.graph.infer import skeleton


def invalid(model: Any) -> str | None:
    """Why the checker refuses the model; None when it does not. Large weights count by type and shape alone."""
    proto = skeleton(model)
    complete(proto)
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        return reason(error)
    return None


def complete(proto: ModelProto) -> bool:
    """Give each graph output, and each input, a type and a shape, since the checker asks for them and ONNX Runtime does
    not: float32 of no dims stands for what is not known. Says whether anything was missing."""
    found = False
    for info in (*proto.graph.input, *proto.graph.output):
        kind = info.type.WhichOneof("value")
        if kind not in (None, "tensor_type"):
            continue
        dense = info.type.tensor_type
        found |= not (dense.elem_type and dense.HasField("shape"))
        dense.elem_type = dense.elem_type or TensorProto.FLOAT
        dense.shape.SetInParent()
    return found


def reason(error: Exception) -> str:
    """The checker's words on one line."""
    return " ".join(str(error).split())[:300]
