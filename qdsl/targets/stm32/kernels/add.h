/* a * a_scale + (b * b_scale + constant), each multiplication and addition rounded once; scales are in steps of the
   output, and `constant` holds all zero points. */
QDSL_INLINE int8_t qdsl_added(const struct qdsl_binary_parameters *p, int32_t a, int32_t b)
{
    float steps = qdsl_fused((float)b, p->b_scale, p->constant);
    return qdsl_code_of(qdsl_fused((float)a, p->a_scale, steps), p->low, p->high);
}

static QDSL_APART void qdsl_add(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary(parameters, rows, out, qdsl_added);
}
