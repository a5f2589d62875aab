/* The product of both. */
QDSL_INLINE int32_t qdsl_multiplied_fixed(const struct qdsl_binary_fixed_parameters *p, int32_t a, int32_t b)
{
    (void)p;
    return a * b;
}

static QDSL_APART void qdsl_mul_fixed(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_binary_fixed(parameters, rows, out, qdsl_multiplied_fixed);
}
