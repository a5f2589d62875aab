"""One mistake in one kernel, as a substitution in its source, and the operators that it must show in."""

from __future__ import annotations

MUTANTS = (
    # rounding
    ("nearest.h", "value += magic;\n    value -= magic;", "", "Binary AveragePool Softmax Quantize"),
    ("nearest.h", "value += magic;\n    value -= magic;", "value += value < 0 ? -0.5f : 0.5f;", "Binary Quantize"),
    # zero points
    ("add.h", "p->constant", "p->constant + 1.0f", "Binary"),
    ("add_turned.h", "p->constant", "p->constant + 1.0f", "Binary"),
    ("mul.h", "(b - p->b_zero)", "(b - p->b_zero - 1)", "Binary"),
    ("mul.h", "p->constant", "p->constant + 1.0f", "Binary"),
    ("sub.h", "p->a_zero", "p->a_zero + 1", "Binary"),
    ("sub.h", "p->out_zero", "p->out_zero + 1", "Binary"),
    ("div.h", "p->b_zero", "p->b_zero + 1", "Binary"),
    ("average.h", "p->zero", "p->zero + 1", "AveragePool"),
    ("average.h", "p->out_zero", "p->out_zero + 1.0f", "AveragePool"),
    ("global.h", "p->zero * p->pixels", "p->zero * (p->pixels - 1)", "AveragePool"),
    ("global.h", "p->out_zero", "p->out_zero + 1", "AveragePool"),
    ("softmax.h", "p->zero", "p->zero + 1", "Softmax"),
    ("quantize.h", "p->zero", "p->zero + 1", "Quantize"),
    ("dequantize.h", "p->zero", "p->zero + 1", "Dequantize"),
    ("product_floats.h", "x[c] - p->x_zero", "x[c] - p->x_zero - 1", "Conv Dense"),
    # padding
    ("maxpool.h", "to[c] = -128", "to[c] = 0", "MaxPool"),
    ("maxpool.h", "column >= p->width", "column > p->width", "MaxPool"),
    ("average.h", ": there", ": p->reach * p->kernel", "AveragePool"),
    ("average.h", "column < 0", "column < 1", "AveragePool"),
    ("strided.h", "p->fill[byte]", "(uint8_t)(p->fill[byte] + 1)", "Pad"),
    ("product_floats.h", "at < 0", "at < 1", "Conv"),
    # clamps
    ("add.h", "p->low, p->high", "p->low + 1, p->high - 1", "Binary"),
    ("add_turned.h", "p->low, p->high", "p->low + 1, p->high - 1", "Binary"),
    ("mul.h", "p->low, p->high", "p->low + 1, p->high - 1", "Binary"),
    ("sub.h", "p->low, p->high", "p->low + 1, p->high - 1", "Binary"),
    ("div.h", "p->low, p->high", "p->low + 1, p->high - 1", "Binary"),
    ("average.h", "p->low, p->high", "p->low + 1, p->high - 1", "AveragePool"),
    ("global.h", "p->low, p->high", "p->low + 1, p->high - 1", "AveragePool"),
    ("softmax.h", "-128, 127", "-127, 127", "Softmax"),
    ("quantize.h", "-128, 127", "-128, 126", "Quantize"),
    ("nearest.h", "(int8_t)low;", "(int8_t)zero;", "Quantize"),
    ("product_floats.h", "? p->low : value", "? p->low + 0.1f : value", "Conv Dense"),
    # places
    ("softmax.h", "sum += exps[in[i]]", "sum += exps[in[i] - 1]", "Softmax"),
    ("table.h", "p->values + 128", "p->values + 127", "Table"),
    ("concat.h", "p->which[i] + 128", "p->which[i] + 129", "Concat"),
    ("concat.h", "outer * inner", "outer * (inner - 1)", "Concat"),
    ("resize.h", "p->columns[x]", "p->columns[p->width - 1 - x]", "Resize"),
    ("move.h", "i < p->bytes", "i < p->bytes - 1", "Reshape"),
    ("strided.h", "p->from * size", "(p->from + 1) * size", "Slice Transpose"),
    # rows
    ("driver.h", "* stage->stride - stage->above;", "* stage->stride - stage->above + 1u;", "MaxPool"),
    ("driver.h", "from += stage->dilation", "from += 1u", "MaxPool"),
    ("driver.h", "stage->dilation + 1u", "stage->dilation", "MaxPool"),
    ("driver.h", "now > 0 &&", "now > 1u &&", "MaxPool"),
    ("driver.h", "row % rows->ring", "row % (rows->ring > 3u ? rows->ring : 2u)", "MaxPool"),
)
