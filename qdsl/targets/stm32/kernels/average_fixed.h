/* Averages in fixed point: the sum of what counts from the zero point, by the multiplier of as many places as count:
   `scale`[2 n] / 2^31 * 2^`scale`[2 n + 1] for n + 1 of them. Padding adds 0. */
struct qdsl_average_fixed_parameters {
    int32_t width;
    int32_t out_width;
    int32_t channels;
    int32_t reach;
    int32_t kernel;
    int32_t stride;
    int32_t step;
    int32_t left;
    int32_t counted; /* places that count, or 0: those on the tensor */
    const int32_t *scale;
    int32_t zero;
    int32_t out_zero;
    int32_t low;
    int32_t high;
};

static QDSL_APART void qdsl_average_fixed(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_average_fixed_parameters *p = parameters;
    int8_t *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++)
        for (int32_t c = 0; c < p->channels; c++) {
            int32_t sum = 0, there = 0;
            for (int32_t i = 0; i < p->reach; i++) {
                const int8_t *row = rows[i];
                int32_t column = x * p->stride - p->left;
                if (row == NULL)
                    continue;
                for (int32_t k = 0; k < p->kernel; k++, column += p->step) {
                    if (column < 0 || column >= p->width)
                        continue;
                    sum += row[column * p->channels + c] - p->zero;
                    there++;
                }
            }
            const int32_t *scale = p->scale + 2 * ((p->counted != 0 ? p->counted : there) - 1);
            *to++ = qdsl_fixed_within(qdsl_fixed(sum, scale[0], scale[1]) + p->out_zero, p->low, p->high);
        }
}
