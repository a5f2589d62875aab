/* Averages: (q - zero) * scale summed in float32, row by row of the window, divided by the places that count, then by the
   scale of the output; its zero point is added before the rounding. Padding adds 0. */
struct qdsl_average_parameters {
    int32_t width;
    int32_t out_width;
    int32_t channels;
    int32_t reach;
    int32_t kernel;
    int32_t stride;
    int32_t step;
    int32_t left;
    int32_t counted; /* places that count, or 0: those on the tensor */
    int32_t zero;
    float scale;
    float out_scale;
    float out_zero;
    int32_t low;
    int32_t high;
};

static QDSL_APART void qdsl_average(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_average_parameters *p = parameters;
    int8_t *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++)
        for (int32_t c = 0; c < p->channels; c++) {
            float sum = 0.0f;
            int32_t there = 0;
            for (int32_t i = 0; i < p->reach; i++) {
                const int8_t *row = rows[i];
                int32_t column = x * p->stride - p->left;
                if (row == NULL)
                    continue;
                for (int32_t k = 0; k < p->kernel; k++, column += p->step) {
                    if (column < 0 || column >= p->width)
                        continue;
                    sum += (float)(row[column * p->channels + c] - p->zero) * p->scale;
                    there++;
                }
            }
            sum = sum / (float)(p->counted != 0 ? p->counted : there) / p->out_scale;
            *to++ = qdsl_code_of(sum + p->out_zero, p->low, p->high);
        }
}
