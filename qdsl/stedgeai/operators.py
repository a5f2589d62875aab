"""The operators that ST Edge AI Core imports from ONNX, by its documentation: "ONNX toolbox support" of 2.2 (132
operators, https://stedgeai-dc.st.com/assets/embedded-docs/supported_ops_onnx.html) and what that of 4.0 has beyond."""

from __future__ import annotations

_ONNX = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitShift Cast Ceil Clip Concat
Constant ConstantOfShape Conv ConvTranspose Cos Cosh DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp
Expand Flatten Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual
HardSigmoid HardSwish Hardmax Identity InstanceNormalization LRN LSTM LeakyRelu Less LessOrEqual Log LogSoftmax
LpNormalization MatMul Max MaxPool Mean Min Mod Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
Range Reciprocal ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
Relu Reshape Resize Round ScatterND Selu Shape Sigmoid Sign Sin Sinh Slice Softmax Softplus Softsign SpaceToDepth Split
Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where Xor
"""
_MICROSOFT = "QLinearAdd QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearMul"
# Those that it imports without making C of them (LabelEncoder, TreeEnsembleRegressor) are none here.
_ML = """
ArrayFeatureExtractor LinearClassifier Normalizer SVMClassifier SVMRegressor Scaler TreeEnsembleClassifier ZipMap
"""
_DOMAINS = {
    "": frozenset(_ONNX.split()),
    "ai.onnx": frozenset(_ONNX.split()),
    "com.microsoft": frozenset(_MICROSOFT.split()),
    "ai.onnx.ml": frozenset(_ML.split()),
}
# The first version whose documentation lists them.
_LATER = {"LayerNormalization": "4.0", "Size": "4.0"}


def imported(domain: str, op: str) -> bool:
    """Whether every version from 2.2 on imports an operator and makes C of it."""
    return op in _DOMAINS.get(domain, frozenset())


def since(domain: str, op: str) -> str:
    """The first version that imports an operator which older ones do not; "" where none is known."""
    return _LATER.get(op, "") if domain in ("", "ai.onnx") else ""
