/* Inputs one after the other along an axis: `outer` times, `inner`[i] bytes of each input i. Input i goes through table
   `which`[i] of `tables` (256 each), or as it is where that is below 0. */
struct qdsl_concat_parameters {
    const int32_t *inner;
    const int32_t *which;
    const int8_t *tables;
    int32_t inputs;
    int32_t outer;
};

static QDSL_APART void qdsl_concat_from(const struct qdsl_concat_parameters *p, const void *const *inputs, int8_t *out)
{
    for (int32_t outer = 0; outer < p->outer; outer++)
        for (int32_t i = 0; i < p->inputs; i++) {
            int32_t inner = p->inner[i];
            const int8_t *in = (const int8_t *)inputs[i] + outer * inner;
            if (p->which[i] < 0) {
                memcpy(out, in, (size_t)inner);
            } else {
                const int8_t *table = p->tables + 256 * p->which[i] + 128;
                for (int32_t k = 0; k < inner; k++)
                    out[k] = table[in[k]];
            }
            out += inner;
        }
}

/* rows: one of each input */
static QDSL_APART void qdsl_concat_row(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    (void)scratch;
    qdsl_concat_from(parameters, rows, out);
}

/* at: inputs, output */
static QDSL_APART void qdsl_concat(const void *parameters, void *const *at)
{
    const struct qdsl_concat_parameters *p = parameters;
    qdsl_concat_from(p, (const void *const *)at, at[p->inputs]);
}
