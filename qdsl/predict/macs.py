"""Multiply-accumulates per node, from shapes: of convolutions, products of matrices, recurrent cells, attention,
bodies.

A free batch dimension counts as 1. What cannot be counted is None, never 0: a share of an unknown whole is no share.
"""

from __future__ import annotations

from collections.abc import Callable

from qdsl.graph.view import GraphView, NodeView
from qdsl.predict.macs_attention import attention, joint_attention, multi_head_attention
from qdsl.predict.macs_bodies import branches, loop, scan, sequence_map
from qdsl.predict.macs_shapes import dim, given, shape, size, times, total

_MICROSOFT = "com.microsoft"
Counter = Callable[[GraphView, NodeView], int | None]


def macs(view: GraphView, node: NodeView) -> int | None:
    """Multiply-accumulates of one inference of one sample: 0 where nothing multiplies, None where that is not known.

    Element by element, a Mul or a normalization counts nothing, as everywhere. An If counts as its larger branch.
    """
    counter = _COUNTERS.get((node.domain, node.op))
    if counter is not None:
        return counter(view, node)
    if (node.domain, node.op) in _WITH_BODIES and node.bodies:
        return _WITH_BODIES[node.domain, node.op](view, node, macs)
    if node.domain == "":
        return None if node.op in _OPEN or node.bodies else 0
    return 0 if node.op in _PLAIN.get(node.domain, ()) else None


def _conv(weight: int) -> Counter:
    """Output elements x (input channels / groups) x kernel; the weights stand at port `weight`."""
    return lambda view, node: times(size(view, node.outputs[0]), _per_filter(view, given(node, weight)))


def _conv_transpose(view: GraphView, node: NodeView) -> int | None:
    """As Conv, from its input elements."""
    return times(size(view, node.inputs[0]), _per_filter(view, given(node, 1)))


def _per_filter(view: GraphView, weight: str) -> int | None:
    dims = shape(view, weight, -1)
    return None if dims is None or len(dims) < 2 else times(*dims[1:])


def _matmul(view: GraphView, node: NodeView) -> int | None:
    """Output elements x inner dimension; a Gemm or a fused product may read its first input transposed."""
    if node.attrs.get("transBatchA"):
        return None
    return times(size(view, node.outputs[0]), dim(view, node.inputs[0], -2 if node.attrs.get("transA") else -1))


def _blocks(view: GraphView, node: NodeView) -> int | None:
    """Products with weights stored by blocks: the attribute `K` is the inner dimension."""
    inner = node.attrs.get("K")
    return times(size(view, node.outputs[0]), inner if isinstance(inner, int) else None)


def _recurrent(view: GraphView, node: NodeView) -> int | None:
    """Steps x batch x all weights of input and state: W [directions, gates, input], R [directions, gates, state]."""
    batch = 0 if node.attrs.get("layout") else 1
    taken = shape(view, node.inputs[0], batch)
    weights = [shape(view, given(node, port), -1) for port in (1, 2)]
    if taken is None or len(taken) != 3 or any(dims is None or len(dims) != 3 for dims in weights):
        return None
    return times(taken[0], taken[1], total(times(*dims) for dims in weights if dims is not None))


def _einsum(view: GraphView, node: NodeView) -> int | None:
    """The product of the sizes of all letters of two operands; one operand multiplies nothing, and of more the order in
    which they meet is not known."""
    equation = node.attrs.get("equation")
    if len(node.inputs) == 1:
        return 0
    if not isinstance(equation, str) or len(node.inputs) != 2:
        return None
    sizes: dict[object, int | None] = {}
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    for term, tensor in zip(terms, node.inputs, strict=False):
        dims = shape(view, tensor)
        letters = None if dims is None else _letters(term, len(dims))
        if dims is None or letters is None:
            return None
        for letter, length in zip(letters, dims, strict=True):
            known = sizes.get(letter, 1)
            # Of one letter the sizes are equal, or one of them is 1 and stretched: the larger one counts.
            sizes[letter] = None if known is None or length is None else max(known, length)
    return times(*sizes.values())


def _letters(term: str, rank: int) -> list[object] | None:
    """A letter for each axis; those of an ellipsis count from its end, so that they meet as they are broadcast."""
    head, dots, tail = term.partition("...")
    hidden = rank - len(head) - len(tail)
    if hidden < 0 or (hidden and not dots):
        return None
    return [*head, *range(-hidden, 0), *tail]


_COUNTERS: dict[tuple[str, str], Counter] = {
    **{("", op): _conv(1) for op in ("Conv", "ConvInteger", "DeformConv")},
    ("", "ConvTranspose"): _conv_transpose,
    (_MICROSOFT, "FusedConv"): _conv(1),
    **{(domain, "QLinearConv"): _conv(3) for domain in ("", _MICROSOFT)},
    **{("", op): _matmul for op in ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")},
    **{
        (_MICROSOFT, op): _matmul
        for op in (
            "DynamicQuantizeMatMul",
            "FusedGemm",
            "FusedMatMul",
            "FusedMatMulActivation",
            "GemmFastGelu",
            "GemmFloat8",
            "MatMulInteger16",
            "MatMulIntegerToFloat",
            "QGemm",
            "TransposeMatMul",
        )
    },
    **{(_MICROSOFT, op): _blocks for op in ("MatMulBnb4", "MatMulFpQ4", "MatMulNBits")},
    **{("", op): _recurrent for op in ("GRU", "LSTM", "RNN")},
    (_MICROSOFT, "DynamicQuantizeLSTM"): _recurrent,
    ("", "Einsum"): _einsum,
    ("", "Attention"): attention,
    **{(_MICROSOFT, op): joint_attention for op in ("Attention", "QAttention")},
    (_MICROSOFT, "MultiHeadAttention"): multi_head_attention,
}
_WITH_BODIES = {("", "If"): branches, ("", "Loop"): loop, ("", "Scan"): scan, ("", "SequenceMap"): sequence_map}
# Standard operators that multiply as often as more than shapes decide.
_OPEN = frozenset({"CausalConvWithState", "DFT", "LinearAttention", "STFT"})
# Of other domains what multiplies nothing but element by element; of the rest nothing is known.
_CONTRIB = """
    BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BitmaskBiasDropout BitmaskDropout ComplexMul ComplexMulConj
    CropAndResize DequantizeLinear EmbedLayerNormalization ExpandDims FastGelu GatherBlockQuantized GatherND Gelu
    GridSample GroupNorm IsAllFinite MaxpoolWithMask MulInteger MurmurHash3 NGramRepeatBlock NhwcMaxPool Pad
    QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu
    QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu Range
    ReduceSumInteger RemovePadding RestorePadding RotaryEmbedding SkipGroupNorm SkipLayerNormalization
    SkipSimplifiedLayerNormalization Tokenizer Trilu UnfoldTensor Unique
"""
_BLOCKED = "AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample"
_LEARNING = """
    ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
    Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
"""
_PLAIN = {
    _MICROSOFT: frozenset(_CONTRIB.split()),
    "com.microsoft.nchwc": frozenset(_BLOCKED.split()),
    "ai.onnx.ml": frozenset(_LEARNING.split()),
}
