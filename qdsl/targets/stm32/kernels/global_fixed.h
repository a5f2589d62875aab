/* The average of a whole plane in fixed point. at: input, output. */
struct qdsl_global_fixed_parameters {
    int32_t pixels;
    int32_t channels;
    int32_t zero;
    int32_t multiplier;
    int32_t shift;
    int32_t out_zero;
    int32_t low;
    int32_t high;
};

static QDSL_APART void qdsl_global_fixed(const void *parameters, void *const *at)
{
    const struct qdsl_global_fixed_parameters *p = parameters;
    int8_t *out = at[1];
    for (int32_t c = 0; c < p->channels; c++) {
        const int8_t *in = (const int8_t *)at[0] + c;
        int32_t sum = 0;
        for (int32_t i = 0; i < p->pixels; i++, in += p->channels)
            sum += *in;
        sum -= p->zero * p->pixels;
        out[c] = qdsl_fixed_within(qdsl_fixed(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
    }
}
