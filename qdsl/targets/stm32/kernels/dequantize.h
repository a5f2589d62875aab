/* int8 to float32: (q - zero) * scale. */
struct qdsl_dequantize_parameters {
    int32_t count;
    float scale;
    int32_t zero;
};

static QDSL_APART void qdsl_dequantize(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_dequantize_parameters own = *(const struct qdsl_dequantize_parameters *)parameters, *p = &own;
    const int8_t *in = rows[0];
    float *to = out;
    (void)scratch;
    for (int32_t i = 0; i < p->count; i++)
        to[i] = (float)(in[i] - p->zero) * p->scale;
}
