"""The names of operators, for checks that load neither a model nor ONNX: those of all ONNX operator sets, and those of
com.microsoft that a float model is likely to hold."""

from __future__ import annotations

_ONNX = """
    Abs Acos Acosh Adagrad Adam Add AffineGrid And ArgMax ArgMin ArrayFeatureExtractor Asin Asinh Atan Atanh
    Attention AveragePool BatchNormalization Bernoulli Binarizer BitCast BitShift BitwiseAnd BitwiseNot
    BitwiseOr BitwiseXor BlackmanWindow Cast CastLike CastMap CategoryMapper CausalConvWithState Ceil Celu
    CenterCropPad Clip Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Conv ConvInteger
    ConvTranspose Cos Cosh CumProd CumSum DFT DeformConv DepthToSpace DequantizeLinear Det DictVectorizer Div
    Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand EyeLike FeatureVectorizer Flatten
    FlexAttention Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool
    GlobalMaxPool Gradient Greater GreaterOrEqual GridSample GroupNormalization HammingWindow HannWindow
    HardSigmoid HardSwish Hardmax Identity If ImageDecoder Imputer InstanceNormalization IsInf IsNaN LRN LSTM
    LabelEncoder LayerNormalization LeakyRelu Less LessOrEqual LinearAttention LinearClassifier LinearRegressor
    Log LogSoftmax Loop LpNormalization LpPool MatMul MatMulInteger Max MaxPool MaxRoiPool MaxUnpool Mean
    MeanVarianceNormalization MelWeightMatrix Min Mish Mod Momentum Mul Multinomial Neg
    NegativeLogLikelihoodLoss NonMaxSuppression NonZero Normalizer Not OneHot OneHotEncoder Optional
    OptionalGetElement OptionalHasElement Or PRelu Pad Pow QLinearConv QLinearMatMul QuantizeLinear
    RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1
    ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round STFT SVMClassifier
    SVMRegressor Scaler Scan Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SequenceMap Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax SoftmaxCrossEntropyLoss Softplus Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze
    StringConcat StringNormalizer StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer
    ThresholdedRelu Tile TopK Transpose TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor Trilu Unique
    Unsqueeze Upsample Where Xor ZipMap
"""

_MICROSOFT = """
    BiasGelu EmbedLayerNormalization FastGelu FusedConv FusedGemm FusedMatMul GroupQueryAttention
    MultiHeadAttention QuickGelu SimplifiedLayerNormalization SkipLayerNormalization
"""

OPERATORS = frozenset((_ONNX + _MICROSOFT).split())
