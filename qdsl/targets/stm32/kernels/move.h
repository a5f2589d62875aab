/* Bytes from one place to another: copies, slices, transposes, padding. */

/* at: input, output. They may be the same. */
struct qdsl_copy_parameters {
    int32_t bytes;
};

static QDSL_APART void qdsl_copy(const void *parameters, void *const *at)
{
    const struct qdsl_copy_parameters *p = parameters;
    const uint8_t *in = at[0];
    uint8_t *out = at[1];
    if (in == out)
        return;
    for (int32_t i = 0; i < p->bytes; i++)
        out[i] = in[i];
}
