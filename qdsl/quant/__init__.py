"""Quantization numerics: from ranges to scales, from floats to integers and back. Pure numpy, no graph, no runtime.

Everything follows the ONNX operators QuantizeLinear and DequantizeLinear with float32 scales, bit for bit:

    q = saturate(round_half_even(x / scale) + zero_point)        x' = (q - zero_point) * scale
"""

from qdsl.quant.bias import BIAS_LIMIT, quantize_bias, raise_scale_for_bias
from qdsl.quant.least_error import by_least_error, least_error_scale
from qdsl.quant.linear import QParams, dequantize, quantize, spread_over, storage_type
from qdsl.quant.scales import (
    LARGEST_FLOAT16,
    SMALLEST_SCALE,
    float16_scales,
    limits,
    scale_zero_point,
    spread,
    whole_inverse,
)
from qdsl.quant.shift import mean_shift
from qdsl.quant.weights import QuantizedWeight, quantize_weight, weight_parameters

__all__ = [
    "BIAS_LIMIT",
    "LARGEST_FLOAT16",
    "SMALLEST_SCALE",
    "QParams",
    "QuantizedWeight",
    "by_least_error",
    "dequantize",
    "float16_scales",
    "least_error_scale",
    "limits",
    "mean_shift",
    "quantize",
    "quantize_bias",
    "quantize_weight",
    "raise_scale_for_bias",
    "scale_zero_point",
    "spread",
    "spread_over",
    "storage_type",
    "weight_parameters",
    "whole_inverse",
]
