"""Mistakes in the kernels of float32 and of what is quantized at run time: (source, what stands there, what is planted,
the operators in which it has to show)."""

from __future__ import annotations

FLOAT_MUTANTS = (
    ("floats.h", "return value > high ? high : value;", "return value;", "FloatConv Binary Unary"),
    ("float_conv.h", "memset(copy, 0,", "memset(copy, 64,", "FloatConv"),
    ("float_conv.h", "p->bias[channel] : 0.0f", "0.0f : 0.0f", "FloatConv FloatDense"),
    ("float_depthwise.h", "(uint8_t)(4 * place)", "(uint8_t)(4 * there)", "FloatConv"),
    ("float_binary.h", "QDSL_FLOAT_BINARY(qdsl_float_sub, -)", "QDSL_FLOAT_BINARY(qdsl_float_sub, +)", "Binary"),
    ("float_pools.h", "in[c] > to[c] ?", "in[c] > 0.0f ?", "MaxPool"),
    ("float_pools.h", "p->counted != 0 ?", "p->counted == 0 ?", "AveragePool"),
    ("float_global.h", "int32_t i = fours;", "int32_t i = fours + 1;", "AveragePool"),
    ("float_softmax.h", "sum += out[i]", "sum += out[0]", "Softmax"),
    ("float_exp.h", "sum = sum * x + 1.66666667e-1f;", "", "Unary Softmax"),
    ("float_exp.h", "sum = sum * square + 1.0f / 5.0f;", "", "Unary"),
    ("float_unary.h", "function(in[i], p->a, p->b)", "function(in[i], p->b, p->a)", "Unary"),
    ("float_lines.h", "return x >= 0.0f ? x : a * x;", "return x >= 0.0f ? x : a;", "Unary"),
    ("float_curves.h", "size > 0.921875f", "size > 1.921875f", "Unary"),
    ("float_powers.h", "return x > 0.0f ? x + qdsl_log_more(qdsl_exp(-x))", "return x > 0.0f ? x", "Unary"),
    ("float_waves.h", "return quarter & 2 ?", "return quarter & 4 ?", "Unary"),
)
DYNAMIC_MUTANTS = (
    (
        "dynamic_quantize.h",
        "qdsl_smaller(qdsl_smaller(low, first), second)",
        "qdsl_smaller(low, first)",
        "DynamicQuantize",
    ),
    ("dynamic_quantize.h", "/ 255.0f", "/ 256.0f", "DynamicQuantize"),
    ("dynamic_quantize.h", "0.0f - least / encoding[0]", "0.5f - least / encoding[0]", "DynamicQuantize"),
    ("dynamic.h", "-run->zero * p->sums[i]", "(1 - run->zero) * p->sums[i]", "Conv Dense"),
    ("dynamic.h", "* scale + bias;", "* scale;", "Conv"),
    ("dynamic_conv.h", "memset(copy, run->zero,", "memset(copy, 0,", "Conv"),
    ("dynamic_conv.h", "start + group * padded,", "start,", "Conv"),
    ("dynamic_depthwise.h", "memset(run->own, run->zero,", "memset(run->own, 0,", "Conv"),
    ("dynamic_depthwise3.h", "nothing = (uint32_t)run->zero * 0x01010101u", "nothing = 0", "Conv"),
)
TWICE_MUTANTS = (
    ("dynamic.h", "run.least = qdsl_within(run.least,", "run.least = qdsl_within(-8.0f,", "DynamicQuantize"),
    ("dynamic.h", "qdsl_larger(run->most, value)", "qdsl_larger(run->most, value + 1.0f)", "DynamicQuantize"),
)
