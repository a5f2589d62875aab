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

static QDSL_APART void qdsl_maxpool(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_maxpool_parameters *p = parameters;
    int8_t *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++, to += p->channels) {
        for (int32_t c = 0; c < p->channels; c++)
            to[c] = -128;
        for (int32_t i = 0; i < p->reach; i++) {
            const int8_t *row = rows[i];
            int32_t column = x * p->stride - p->left;
            if (row == NULL)
                continue;
            for (int32_t k = 0; k < p->kernel; k++, column += p->step) {
                const int8_t *in = row + column * p->channels;
                if (column < 0 || column >= p->width)
                    continue;
                for (int32_t c = 0; c < p->channels; c++)
                    to[c] = in[c] > to[c] ? in[c] : to[c];
            }
        }
    }
}
