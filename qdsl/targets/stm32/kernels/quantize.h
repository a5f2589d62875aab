/* float32 to int8: the nearest of x / scale, then the zero point. */
struct qdsl_quantize_parameters {
    int32_t count;
    float scale;
    int32_t zero;
};

static QDSL_APART void qdsl_quantize(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_quantize_parameters own = *(const struct qdsl_quantize_parameters *)parameters, *p = &own;
    const float *in = rows[0];
    int8_t *to = out;
    (void)scratch;
    for (int32_t i = 0; i < p->count; i++)
        to[i] = qdsl_quantized(in[i] / p->scale, p->zero, -128, 127);
}
