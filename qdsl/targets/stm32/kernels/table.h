/* A function of one int8: values[q + 128]. */
struct qdsl_table_parameters {
    const int8_t *values;
    int32_t count;
};

static QDSL_APART void qdsl_table(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_table_parameters own = *(const struct qdsl_table_parameters *)parameters, *p = &own;
    const int8_t *in = rows[0], *values = p->values + 128;
    int8_t *to = out;
    (void)scratch;
    for (int32_t i = 0; i < p->count; i++)
        to[i] = values[in[i]];
}
