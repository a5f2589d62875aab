/* A convolution, or a matrix as one of 1 x 1, of int8 to float32: sum (x - x_zero) * w + bias, times the scale of its
   channel, plus `more`, within `low` and `high`. `bias` and `more` may be NULL. Weights are [group][out channel][row]
   [column][channel]; `channels` and `out_channels` are those of a group. */
struct qdsl_product_floats_parameters {
    const int8_t *weights;
    const int32_t *bias;
    const float *scale;
    const float *more;
    float low;
    float high;
    int32_t width;
    int32_t out_width;
    int32_t groups;
    int32_t channels;
    int32_t out_channels;
    int32_t reach;
    int32_t kernel;
    int32_t stride;
    int32_t step;
    int32_t left;
    int32_t x_zero;
};

static QDSL_APART int32_t qdsl_window_sum(const struct qdsl_product_floats_parameters *p, const void *const *rows,
                                          const int8_t *w, int32_t column, int32_t group)
{
    int32_t sum = 0, pixel = p->groups * p->channels;
    for (int32_t i = 0; i < p->reach; i++) {
        const int8_t *row = rows[i];
        for (int32_t k = 0; k < p->kernel; k++, w += p->channels) {
            int32_t at = column + k * p->step;
            if (row == NULL || at < 0 || at >= p->width)
                continue;
            const int8_t *x = row + at * pixel + group * p->channels;
            for (int32_t c = 0; c < p->channels; c++)
                sum += (x[c] - p->x_zero) * w[c];
        }
    }
    return sum;
}

static QDSL_APART void qdsl_product_floats(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_product_floats_parameters *p = parameters;
    int32_t taps = p->reach * p->kernel * p->channels;
    float *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++) {
        const int8_t *w = p->weights;
        for (int32_t channel = 0; channel < p->groups * p->out_channels; channel++, w += taps) {
            int32_t sum = qdsl_window_sum(p, rows, w, x * p->stride - p->left, channel / p->out_channels);
            float value = (float)(sum + (p->bias != NULL ? p->bias[channel] : 0)) * p->scale[channel];
            value += p->more != NULL ? p->more[channel] : 0.0f;
            value = value < p->low ? p->low : value;
            *to++ = value > p->high ? p->high : value;
        }
    }
}
