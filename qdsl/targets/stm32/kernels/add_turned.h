/* As qdsl_add, the first input first: where it stands still along the innermost axis, both trade places. */
QDSL_INLINE int8_t qdsl_added_turned(const struct qdsl_binary_parameters *p, int32_t a, int32_t b)
{
    float steps = qdsl_fused((float)a, p->a_scale, p->constant);
    return qdsl_code_of(qdsl_fused((float)b, p->b_scale, steps), p->low, p->high);
}

static QDSL_APART void qdsl_add_turned(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary(parameters, rows, out, qdsl_added_turned);
}
