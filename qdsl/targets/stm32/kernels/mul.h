/* The product of what a and b count from their zero points, by `out_scale`, then the zero point of the output, then the
   rounding. */
QDSL_INLINE int8_t qdsl_multiplied(const struct qdsl_binary_parameters *p, int32_t a, int32_t b)
{
    float steps = (float)((a - p->a_zero) * (b - p->b_zero)) * p->out_scale;
    return qdsl_code_of(steps + p->constant, p->low, p->high);
}

static QDSL_APART void qdsl_mul(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary(parameters, rows, out, qdsl_multiplied);
}
