/* Pools of float32 with a window. Padding never is the largest; in averages it adds 0, and counts where `counted` says so.
   Row kernels. */
struct qdsl_float_pool_parameters {
    int32_t width;
    int32_t out_width;
    int32_t channels;
    int32_t reach;
    int32_t kernel;
    int32_t stride;
    int32_t step;
    int32_t left;
    int32_t counted; /* places that count, or 0: those on the tensor */
    float low;
    float high;
};

static QDSL_APART void qdsl_float_maxpool(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_float_pool_parameters *p = parameters;
    float *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++, to += p->channels) {
        for (int32_t c = 0; c < p->channels; c++)
            to[c] = -INFINITY;
        for (int32_t i = 0; i < p->reach; i++)
            for (int32_t k = 0, at = x * p->stride - p->left; k < p->kernel; k++, at += p->step) {
                const float *in = (const float *)rows[i] + at * p->channels;
                if (rows[i] == NULL || at < 0 || at >= p->width)
                    continue;
                for (int32_t c = 0; c < p->channels; c++)
                    to[c] = in[c] > to[c] ? in[c] : to[c];
            }
    }
}

static QDSL_APART void qdsl_float_average(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_float_pool_parameters *p = parameters;
    float *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++, to += p->channels) {
        int32_t there = 0;
        for (int32_t c = 0; c < p->channels; c++)
            to[c] = 0.0f;
        for (int32_t i = 0; i < p->reach; i++)
            for (int32_t k = 0, at = x * p->stride - p->left; k < p->kernel; k++, at += p->step) {
                const float *in = (const float *)rows[i] + at * p->channels;
                if (rows[i] == NULL || at < 0 || at >= p->width)
                    continue;
                there++;
                for (int32_t c = 0; c < p->channels; c++)
                    to[c] += in[c];
            }
        for (int32_t c = 0; c < p->channels; c++)
            to[c] = qdsl_within(to[c] / (float)(p->counted != 0 ? p->counted : there), p->low, p->high);
    }
}
