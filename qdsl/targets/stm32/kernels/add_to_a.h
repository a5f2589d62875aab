/* As qdsl_add, where b stands still: it is multiplied and added to `constant` in two roundings. */
QDSL_INLINE int8_t qdsl_added_to_a(const struct qdsl_binary_parameters *p, int32_t a, int32_t b)
{
    float still = (float)b * p->b_scale;
    return qdsl_code_of(qdsl_fused((float)a, p->a_scale, p->constant + still), p->low, p->high);
}

static QDSL_APART void qdsl_add_to_a(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary(parameters, rows, out, qdsl_added_to_a);
}
