"""Which operators TensorRT's parser has beside those of ONNX, as far as it shares their names with others."""

from __future__ import annotations

from qdsl.graph.integer_operators import says_quantized
from qdsl.graph.view import NodeView

# Domains whose operators onnxruntime brings itself; what its own optimizers write is among them.
OF_ORT = frozenset(
    {
        "",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
    }
)
# Those of com.microsoft that TensorRT's parser has under the same name (TensorRT-RTX 1.7.1, `supports_operator`).
_OF_BOTH = frozenset(
    [
        *("QuantizeLinear", "DequantizeLinear", "MatMulNBits", "Gelu", "LayerNormalization", "Attention"),
        *("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "MultiHeadAttention"),
        *("GroupQueryAttention", "RotaryEmbedding"),
    ]
)
_OF_TENSORRT = frozenset({"", "ai.onnx", "trt", "trt.plugins"})


def read_by_tensorrt(node: NodeView) -> bool:
    """Whether its parser has the operator of `node`, or may: one on integers is a matter of its own."""
    return node.domain in _OF_TENSORRT or says_quantized(node.op) or (node.domain in OF_ORT and node.op in _OF_BOTH)


def refused_by_tensorrt(node: NodeView) -> bool:
    """Whether it is an operator of ONNX Runtime alone. Of any other domain a plugin may be loaded."""
    return node.domain in OF_ORT and not read_by_tensorrt(node)
