/* A convolution of float32 with any window, or a matrix as one of 1 x 1. A row kernel.

   The windows of two pixels are copied together first, 0 where nothing lies, so that with one
   group outputs may lie over pixels that no later window reaches. Weights are [group][out_channels / 4][window: row, column, channel][4], filled up with 0;
   `out_channels` are those of a group, `bias` those of all, or NULL. Scratch: the windows of two pixels. */
struct qdsl_float_conv_parameters {
    const float *weights;
    const float *bias;
    float low;
    float high;
    int32_t groups;
    int32_t width;
    int32_t channels;
    int32_t out_width;
    int32_t out_channels;
    int32_t reach;  /* rows of the window, */
    int32_t kernel; /* and columns, */
    int32_t step;   /* so far apart */
    int32_t stride;
    int32_t left; /* columns of padding */
};

/* One window of the channels from `from` on. */
static QDSL_APART void qdsl_float_window(const struct qdsl_float_conv_parameters *p, const float *const *rows,
                                         int32_t column, int32_t from, float *copy)
{
    size_t channels = (size_t)(p->channels / p->groups);
    for (int32_t i = 0; i < p->reach; i++)
        for (int32_t k = 0, at = column; k < p->kernel; k++, at += p->step, copy += channels) {
            if (rows[i] == NULL || at < 0 || at >= p->width)
                memset(copy, 0, channels * sizeof *copy);
            else
                memcpy(copy, rows[i] + at * p->channels + from, channels * sizeof *copy);
        }
}

/* Four channels of two pixels, whose windows are `depth` floats at `a` and behind: their sums, [2][4]. */
static QDSL_APART void qdsl_float_products(const float *a, int32_t depth, const float *weights, float *sums)
{
    const float *b = a + depth;
    float a0 = 0.0f, a1 = 0.0f, a2 = 0.0f, a3 = 0.0f, b0 = 0.0f, b1 = 0.0f, b2 = 0.0f, b3 = 0.0f;
    for (const float *end = b; a != end; a++, b++, weights += 4) {
        float first = *a, second = *b, w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
        a0 = qdsl_more(first, w0, a0);
        a1 = qdsl_more(first, w1, a1);
        a2 = qdsl_more(first, w2, a2);
        a3 = qdsl_more(first, w3, a3);
        b0 = qdsl_more(second, w0, b0);
        b1 = qdsl_more(second, w1, b1);
        b2 = qdsl_more(second, w2, b2);
        b3 = qdsl_more(second, w3, b3);
    }
    sums[0] = a0;
    sums[1] = a1;
    sums[2] = a2;
    sums[3] = a3;
    sums[4] = b0;
    sums[5] = b1;
    sums[6] = b2;
    sums[7] = b3;
}

static QDSL_APART void qdsl_float_conv(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_float_conv_parameters *p = parameters;
    int32_t channels = p->channels / p->groups, depth = p->reach * p->kernel * channels;
    int32_t next = p->groups * p->out_channels;
    float *windows = scratch, *to = out;
    for (int32_t x = 0; x < p->out_width; x += 2, to += 2 * next) {
        const float *weights = p->weights;
        int32_t column = x * p->stride - p->left, two = x + 1 < p->out_width;
        for (int32_t group = 0; group < p->groups; group++) {
            qdsl_float_window(p, (const float *const *)rows, column, group * channels, windows);
            qdsl_float_window(p, (const float *const *)rows, column + two * p->stride, group * channels,
                              windows + depth);
            for (int32_t c = 0; c < p->out_channels; c += 4, weights += 4 * depth) {
                float sums[8];
                qdsl_float_products(windows, depth, weights, sums);
                for (int32_t i = 0; i < 4 && c + i < p->out_channels; i++) {
                    int32_t channel = group * p->out_channels + c + i;
                    float more = p->bias != NULL ? p->bias[channel] : 0.0f;
                    to[channel] = qdsl_within(sums[i] + more, p->low, p->high);
                    to[two * next + channel] = qdsl_within(sums[4 * two + i] + more, p->low, p->high);
                }
            }
        }
    }
}
