/* The average of a whole plane: the sum of (q - zero), requantized by `scale`; the zero point of the output is added
   after the rounding. at: input, output. */
struct qdsl_global_parameters {
    int32_t pixels;
    int32_t channels;
    int32_t zero;
    float scale;
    int32_t out_zero;
    int32_t low;
    int32_t high;
};

static QDSL_APART void qdsl_global(const void *parameters, void *const *at)
{
    const struct qdsl_global_parameters *p = parameters;
    int8_t *out = at[1];
    for (int32_t c = 0; c < p->channels; c++) {
        const int8_t *in = (const int8_t *)at[0] + c;
        int32_t sum = 0;
        for (int32_t i = 0; i < p->pixels; i++, in += p->channels)
            sum += *in;
        sum -= p->zero * p->pixels;
        out[c] = (int8_t)qdsl_clip(qdsl_nearest((float)sum * p->scale) + p->out_zero, p->low, p->high);
    }
}
