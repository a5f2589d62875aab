/* The largest value under a window of `reach` rows and `kernel` columns, `step` columns apart; what lies outside never
   wins. `left` columns of padding come before the row. */
struct qdsl_maxpool_parameters {
    int32_t width;
    int32_t out_width;
    int32_t channels;
    int32_t reach;
    int32_t kernel;
    int32_t stride;
    int32_t step;
    int32_t left;
};

/* The larger of each of four int8. */
QDSL_INLINE uint32_t qdsl_largest_of_four(uint32_t a, uint32_t b)
{
#if QDSL_DSP
    uint32_t larger;
    __asm__("ssub8 %0, %1, %2\n\tsel %0, %1, %2" : "=&r"(larger) : "r"(a), "r"(b) : "cc");
    return larger;
#else
    int8_t x[4], y[4];
    memcpy(x, &a, 4);
    memcpy(y, &b, 4);
    for (int32_t i = 0; i < 4; i++)
        x[i] = x[i] > y[i] ? x[i] : y[i];
    return qdsl_word(x);
#endif
}

static QDSL_APART void qdsl_maxpool(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_maxpool_parameters own = *(const struct qdsl_maxpool_parameters *)parameters, *p = &own;
    int32_t apart = p->step * p->channels;
    int8_t *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++) {
        int32_t column = x * p->stride - p->left, first = 0, taps;
        for (; column < 0; column += p->step)
            first++;
        for (taps = 0; first + taps < p->kernel && column + taps * p->step < p->width;)
            taps++;
        for (int32_t c = 0; c < p->channels; c += 4) {
            int32_t rest = p->channels - c, from = column * p->channels + c;
            uint32_t most = 0x80808080u;
            if (rest >= 4) {
                for (int32_t i = 0; i < p->reach; i++) {
                    const int8_t *in = rows[i];
                    if (in == NULL)
                        continue;
                    in += from;
                    for (int32_t k = taps; k > 0; k--, in += apart)
                        most = qdsl_largest_of_four(most, qdsl_word(in));
                }
                qdsl_put_word(to + c, most);
                continue;
            }
            for (int32_t last = c; last < p->channels; last++, from++) {
                int32_t one = -128;
                for (int32_t i = 0; i < p->reach; i++) {
                    const int8_t *in = rows[i];
                    if (in == NULL)
                        continue;
                    in += from;
                    for (int32_t k = taps; k > 0; k--, in += apart)
                        one = *in > one ? *in : one;
                }
                to[last] = (int8_t)one;
            }
        }
        to += p->channels;
    }
}
