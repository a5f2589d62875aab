/* A convolution of float32 of each channel by itself, channels a multiple of 4, at most QDSL_FLOAT_TAPS taps. A row kernel.
   Weights are [channels / 4][taps][4]; `bias` may be NULL. */
#define QDSL_FLOAT_TAPS 49

struct qdsl_float_depthwise_parameters {
    const float *weights;
    const float *bias;
    float low;
    float high;
    int32_t width;
    int32_t channels;
    int32_t out_width;
    int32_t reach;  /* rows of the window, */
    int32_t kernel; /* and columns, */
    int32_t step;   /* so far apart */
    int32_t stride;
    int32_t left; /* columns of padding */
};

/* Four channels from `c` on, over the taps that are there. */
static QDSL_APART void qdsl_float_taps(const float *const *taps, const uint8_t *places, int32_t there, int32_t c,
                                       const float *weights, float *sums)
{
    float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
    for (const float *const *end = taps + there; taps != end; taps++, places++) {
        const float *a = *taps + c, *w = weights + *places;
        s0 = qdsl_more(a[0], w[0], s0);
        s1 = qdsl_more(a[1], w[1], s1);
        s2 = qdsl_more(a[2], w[2], s2);
        s3 = qdsl_more(a[3], w[3], s3);
    }
    sums[0] = s0;
    sums[1] = s1;
    sums[2] = s2;
    sums[3] = s3;
}

static QDSL_APART void qdsl_float_depthwise(const void *parameters, const void *const *rows, void *out, void *scratch)
{
    const struct qdsl_float_depthwise_parameters *p = parameters;
    const float *taps[QDSL_FLOAT_TAPS];
    uint8_t places[QDSL_FLOAT_TAPS];
    int32_t count = p->reach * p->kernel;
    float *to = out;
    (void)scratch;
    for (int32_t x = 0; x < p->out_width; x++, to += p->channels) {
        const float *weights = p->weights;
        int32_t there = 0;
        for (int32_t i = 0, place = 0; i < p->reach; i++)
            for (int32_t k = 0, at = x * p->stride - p->left; k < p->kernel; k++, at += p->step, place++)
                if (rows[i] != NULL && at >= 0 && at < p->width) {
                    places[there] = (uint8_t)(4 * place);
                    taps[there++] = (const float *)rows[i] + at * p->channels;
                }
        for (int32_t c = 0; c < p->channels; c += 4, weights += 4 * count) {
            float sums[4];
            qdsl_float_taps(taps, places, there, c, weights, sums);
            for (int32_t i = 0; i < 4; i++)
                to[c + i] = qdsl_within(sums[i] + (p->bias != NULL ? p->bias[c + i] : 0.0f), p->low, p->high);
        }
    }
}
