"""Which operators the executor runs, and in which forms. No torch is needed to ask.

To add one: a function of a `Call` in `qdsl/train/kernels`, and its row here. An attribute that a row does not name is
lacking, so that nothing is passed over in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from qdsl.graph.dtypes import type_number

CONTRIB = "com.microsoft"
_NONE: Mapping[str, tuple[object, ...]] = {}


@dataclass(frozen=True, slots=True)
class Operator:
    """`home`: module and function below `qdsl.train.kernels`. `knows`: the attributes that it reads, or that say
    nothing new. `takes`: attributes that have to be one of a few values. `outputs`: how many it can write, 0 for any
    number. `host`: input ports of which numbers are read, to decide on shapes. `not_read`: input ports that have to be
    empty."""

    home: str
    knows: frozenset[str] = frozenset()
    takes: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    outputs: int = 1
    host: frozenset[int] = frozenset()
    not_read: frozenset[int] = frozenset()


def _row(
    home: str,
    knows: str = "",
    takes: Mapping[str, tuple[object, ...]] = _NONE,
    outputs: int = 1,
    host: tuple[int, ...] = (),
    not_read: tuple[int, ...] = (),
) -> Operator:
    return Operator(home, frozenset((*knows.split(), *takes)), takes, outputs, frozenset(host), frozenset(not_read))


# Operators that are all in their inputs: `Name:function`.
_PLAIN = {
    "arithmetic": (
        "Abs:absolute Neg:negative Exp:exponential Log:logarithm Sqrt:root Reciprocal:reciprocal Floor:floor Ceil:ceil "
        "Round:rounded Sign:sign Sin:sine Cos:cosine Tan:tangent Atan:arctangent Erf:erf IsNaN:is_nan Not:negation "
        "Add:add Sub:subtract Mul:multiply Div:div Pow:power Equal:equal Less:less Greater:greater "
        "LessOrEqual:less_or_equal GreaterOrEqual:greater_or_equal And:both Or:either Xor:one_of Where:where "
        "Sum:total Max:largest Min:smallest Mean:mean"
    ),
    "activations": (
        "Relu:relu Sigmoid:sigmoid Tanh:tanh Softplus:softplus Softsign:softsign Mish:mish HardSwish:hard_swish "
        "PRelu:prelu"
    ),
    "windows": "GlobalAveragePool:global_average_pool GlobalMaxPool:global_max_pool",
    "products": "MatMul:matmul",
    "shapes": "Identity:identity CastLike:cast_like Range:arange Size:size",
    "moves": "NonZero:non_zero",
}
_WINDOW = "auto_pad dilations kernel_shape pads strides"
_REDUCED = "axes keepdims noop_with_empty_axes"
_PLACED = ("half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric")
_ELEMENTS = tuple(
    type_number(name)
    for name in (
        *("float32", "float64", "float16", "bfloat16", "bool"),
        *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    )
)

OPERATORS: dict[str, Operator] = {
    **{
        op: _row(f"{module}:{name}")
        for module, rows in _PLAIN.items()
        for op, name in (row.split(":") for row in rows.split())
    },
    "Mod": _row("arithmetic:mod", "fmod"),
    "IsInf": _row("arithmetic:is_inf", "detect_negative detect_positive"),
    "LeakyRelu": _row("activations:leaky_relu", "alpha"),
    "Elu": _row("activations:elu", "alpha"),
    "Celu": _row("activations:celu", "alpha"),
    "Selu": _row("activations:selu", "alpha gamma"),
    "ThresholdedRelu": _row("activations:thresholded_relu", "alpha"),
    "HardSigmoid": _row("activations:hard_sigmoid", "alpha beta"),
    "Swish": _row("activations:swish", "alpha"),
    f"{CONTRIB}:QuickGelu": _row("activations:swish", "alpha"),
    "Gelu": _row("activations:gelu", takes={"approximate": ("none", "tanh")}),
    f"{CONTRIB}:Gelu": _row("activations:gelu"),
    f"{CONTRIB}:FastGelu": _row("activations:fast_gelu"),
    f"{CONTRIB}:BiasGelu": _row("activations:bias_gelu"),
    "Clip": _row("activations:clip", "min max"),
    "Conv": _row("windows:conv", f"{_WINDOW} group"),
    "ConvTranspose": _row("windows:conv_transpose", f"{_WINDOW} group output_padding output_shape"),
    "MaxPool": _row("pools:max_pool", f"{_WINDOW} ceil_mode storage_order"),
    "AveragePool": _row("pools:average_pool", f"{_WINDOW} ceil_mode count_include_pad"),
    "Gemm": _row("products:gemm", "alpha beta transA transB"),
    "MatMulInteger": _row("products:matmul_integer"),
    "ConvInteger": _row("products:conv_integer", f"{_WINDOW} group"),
    "Einsum": _row("products:einsum", "equation"),
    **{
        f"Reduce{word}": _row(f"reductions:reduce_{name}", _REDUCED, host=(1,))
        for word, name in (
            *(("Sum", "sum"), ("Mean", "mean"), ("Max", "max"), ("Min", "min"), ("Prod", "prod"), ("L1", "l1")),
            *(("L2", "l2"), ("SumSquare", "sum_square"), ("LogSum", "log_sum"), ("LogSumExp", "log_sum_exp")),
        )
    },
    "ArgMax": _row("reductions:arg_max", "axis keepdims select_last_index"),
    "ArgMin": _row("reductions:arg_min", "axis keepdims select_last_index"),
    "TopK": _row("reductions:top_k", "axis k largest sorted", outputs=2, host=(1,)),
    "CumSum": _row("reductions:cumulative_sum", "exclusive reverse", host=(1,)),
    "BatchNormalization": _row(
        "normalising:batch_normalization", "epsilon momentum", {"training_mode": (0,), "spatial": (1,)}
    ),
    "InstanceNormalization": _row("normalising:instance_normalization", "epsilon"),
    "GroupNormalization": _row("normalising:group_normalization", "epsilon num_groups", {"stash_type": (1,)}),
    "LayerNormalization": _row("normalising:layer_normalization", "axis epsilon", {"stash_type": (1,)}),
    "RMSNormalization": _row("normalising:rms_normalization", "axis epsilon", {"stash_type": (1,)}),
    "MeanVarianceNormalization": _row("normalising:mean_variance_normalization", "axes"),
    "LpNormalization": _row("normalising:lp_normalization", "axis p"),
    "LRN": _row("normalising:lrn", "alpha beta bias size"),
    "Softmax": _row("normalising:softmax", "axis"),
    "LogSoftmax": _row("normalising:log_softmax", "axis"),
    "Reshape": _row("shapes:reshape", "shape allowzero", host=(1,)),
    "Flatten": _row("shapes:flatten", "axis"),
    "Transpose": _row("shapes:transpose", "perm"),
    "Squeeze": _row("shapes:squeeze", "axes", host=(1,)),
    "Unsqueeze": _row("shapes:unsqueeze", "axes", host=(1,)),
    "Expand": _row("shapes:expand", host=(1,)),
    "Tile": _row("shapes:tile", host=(1,)),
    "Shape": _row("shapes:shape", "start end"),
    "Cast": _row("shapes:cast", "saturate round_mode", {"to": _ELEMENTS}),
    "Constant": _row("shapes:constant", "value value_float value_floats value_int value_ints"),
    "ConstantOfShape": _row("shapes:constant_of_shape", "value", host=(0,)),
    "Dropout": _row("shapes:identity", "ratio seed is_test", not_read=(2,)),
    "DepthToSpace": _row("shapes:depth_to_space", "blocksize", {"mode": ("DCR", "CRD")}),
    "SpaceToDepth": _row("shapes:space_to_depth", "blocksize"),
    "Concat": _row("moves:concat", "axis"),
    "Split": _row("moves:split", "axis split num_outputs", outputs=0, host=(1,)),
    "Slice": _row("moves:sliced", "starts ends axes", host=(1, 2, 3, 4)),
    "Gather": _row("moves:gather", "axis"),
    "GatherElements": _row("moves:gather_elements", "axis"),
    "GatherND": _row("moves:gather_nd", "batch_dims"),
    "ScatterElements": _row("moves:scatter_elements", "axis", {"reduction": ("none", "add")}),
    "ScatterND": _row("moves:scatter_nd", takes={"reduction": ("none", "add")}),
    "Pad": _row("moves:pad", "pads value", {"mode": ("constant", "reflect", "edge", "wrap")}, host=(1, 2, 3)),
    "Trilu": _row("moves:trilu", "upper", host=(1,)),
    "OneHot": _row("moves:one_hot", "axis", host=(1,)),
    "Resize": _row(
        "resizing:resize",
        "axes cubic_coeff_a exclude_outside extrapolation_value keep_aspect_ratio_policy nearest_mode",
        {
            "antialias": (0,),
            "coordinate_transformation_mode": _PLACED,
            "mode": ("nearest", "linear", "cubic"),
        },
        host=(1, 2, 3),
    ),
    "Upsample": _row("resizing:resize", "scales", {"mode": ("nearest", "linear")}, host=(1,)),
    "QuantizeLinear": _row("quantizing:quantize_linear", "axis block_size saturate output_dtype precision"),
    "DequantizeLinear": _row("quantizing:dequantize_linear", "axis block_size output_dtype"),
    f"{CONTRIB}:QuantizeLinear": _row("quantizing:quantize_linear", "axis block_size"),
    f"{CONTRIB}:DequantizeLinear": _row("quantizing:dequantize_linear", "axis block_size"),
    "DynamicQuantizeLinear": _row("quantizing:dynamic_quantize_linear", outputs=3),
}
