/* a / b in float32, between DequantizeLinear and QuantizeLinear. */
QDSL_INLINE int8_t qdsl_divided(const struct qdsl_binary_parameters *p, int32_t a, int32_t b)
{
    float first = (float)(a - p->a_zero) * p->a_scale, second = (float)(b - p->b_zero) * p->b_scale;
    return (int8_t)qdsl_clip(qdsl_quantized((first / second) / p->out_scale, p->out_zero, -128, 127), p->low, p->high);
}

static QDSL_APART void qdsl_div(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary(parameters, rows, out, qdsl_divided);
}
