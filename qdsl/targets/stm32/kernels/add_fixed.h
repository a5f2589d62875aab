/* Both inputs raised by 20 bits and scaled to twice the larger scale, added, then scaled to the output. */
QDSL_INLINE int32_t qdsl_added_fixed(const struct qdsl_binary_fixed_parameters *p, int32_t a, int32_t b)
{
    return qdsl_fixed(a * (1 << 20), p->a_multiplier, p->a_shift) + qdsl_fixed(b * (1 << 20), p->b_multiplier, p->b_shift);
}

static QDSL_APART void qdsl_add_fixed(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary_fixed(parameters, rows, out, qdsl_added_fixed);
}
