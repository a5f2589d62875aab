/* Convolutions and matrices of uint8 that were quantized at run time: what they share.

   Sums of products are sum x * w - zero * sum w; float32 are made of them by the scale of the input times that of the
   weights of their channel, plus a bias. What they become is one of three things: floats; the range of the floats; codes
   by that range. The latter two go over the input twice, so that the floats need no memory. */
struct qdsl_dynamic_parameters {
    const void *weights;
    const int32_t *sums; /* of the weights of each channel; of each group filled up to 4 */
    const float *scale;
    const float *bias; /* may be NULL */
    float low;
    float high;
    /* What is done to the floats before their range is taken, or NULL; a row kernel of parameters a, b. */
    void (*function)(const void *parameters, const void *const *rows, void *out, void *scratch);
    float a;
    float b;
    int32_t groups;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t out_height;
    int32_t out_width;
    int32_t out_channels; /* of all groups */
    int32_t reach;        /* rows of the window, */
    int32_t kernel;       /* and columns, */
    int32_t down;         /* rows so far apart, */
    int32_t step;         /* and columns */
    int32_t stride_down;
    int32_t stride;
    int32_t above; /* rows of padding */
    int32_t left;  /* and columns */
};

/* A run of a kernel. Scratch holds, of `wide` words each: what sums begin with, scales, sums of two pixels, floats of one;
   then what the kernel needs itself. */
struct qdsl_dynamic {
    const struct qdsl_dynamic_parameters *p;
    int32_t *start;
    float *scale;
    int32_t *sums[2];
    float *floats;
    uint32_t *own;
    int32_t zero; /* of the input */
    float least;
    float most;
    float out_scale;
    int32_t out_zero;
    int32_t size; /* of an output, in bytes; 0: nothing is written */
    /* What becomes of the sums of `channels` from `channel` on, of one pixel after the other. */
    void (*finish)(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels, int32_t channel, int32_t channels,
                   uint8_t *out);
};

/* One row of outputs: `in` is the whole input, `top` the first row of the window. */
typedef void qdsl_dynamic_row(struct qdsl_dynamic *run, const uint8_t *in, int32_t top, uint8_t *out);

/* What a kernel does once, before the first row. */
typedef void qdsl_dynamic_ready(struct qdsl_dynamic *run);

static QDSL_APART void qdsl_dynamic_begin(struct qdsl_dynamic *run, const struct qdsl_dynamic_parameters *p,
                                          const float *encoding, void *scratch)
{
    int32_t padded = p->groups * ((p->out_channels / p->groups + 3) & ~3), wide = padded + 4;
    run->p = p;
    run->start = scratch;
    run->scale = (float *)scratch + wide;
    run->sums[0] = (int32_t *)scratch + 2 * wide;
    run->sums[1] = (int32_t *)scratch + 3 * wide;
    run->floats = (float *)scratch + 4 * wide;
    run->own = (uint32_t *)scratch + 5 * wide;
    run->zero = (int32_t)encoding[1];
    for (int32_t i = 0; i < padded; i++)
        run->start[i] = -run->zero * p->sums[i];
    for (int32_t c = 0; c < p->out_channels; c++)
        run->scale[c] = p->scale[c] * encoding[0];
}

static QDSL_APART void qdsl_dynamic_rows(struct qdsl_dynamic *run, const uint8_t *in, uint8_t *out,
                                         qdsl_dynamic_row *row)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    for (int32_t y = 0; y < p->out_height; y++, out += p->out_width * p->out_channels * run->size)
        row(run, in, y * p->stride_down - p->above, out);
}

/* The float of a sum, before it is clipped. */
QDSL_INLINE float qdsl_dynamic_float(const int32_t *sums, const float *scale, const float *bias, int32_t c)
{
    float value = qdsl_float_of(sums + c) * scale[c];
    return bias != NULL ? value + bias[c] : value;
}

/* A loop over `count` of what `one` says of c, two at a time. */
#define QDSL_TWO_BY_TWO(count, one)                                                                                    \
    for (int32_t c = 0, end = (count) & ~1; c < end; c++) {                                                            \
        {                                                                                                              \
            one;                                                                                                       \
        }                                                                                                              \
        c++;                                                                                                           \
        {                                                                                                              \
            one;                                                                                                       \
        }                                                                                                              \
    }                                                                                                                  \
    if ((count) & 1) {                                                                                                 \
        int32_t c = (count) - 1;                                                                                       \
        one;                                                                                                           \
    }

QDSL_INLINE void qdsl_dynamic_clipped(const struct qdsl_dynamic *run, const int32_t *sums, int32_t channel,
                                      int32_t channels, const float *bias, float *to)
{
    const float *scale = run->scale + channel;
    float low = run->p->low, high = run->p->high;
    QDSL_TWO_BY_TWO(channels, to[c] = qdsl_smaller(
                                  qdsl_larger(qdsl_dynamic_float(sums, scale, bias, c), low), high))
}

static QDSL_APART void qdsl_dynamic_floats(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                           int32_t channel, int32_t channels, uint8_t *out)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    float *to = (float *)(void *)out;
    for (; pixels > 0; pixels--, sums += channels, to += p->out_channels)
        if (p->bias == NULL)
            qdsl_dynamic_clipped(run, sums, channel, channels, NULL, to);
        else
            qdsl_dynamic_clipped(run, sums, channel, channels, p->bias + channel, to);
}

/* What the function makes of the floats of one pixel. */
static QDSL_APART const float *qdsl_dynamic_values(struct qdsl_dynamic *run, const int32_t *sums, int32_t channel,
                                                   int32_t channels)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    struct qdsl_unary_parameters parameters = {channels, p->a, p->b};
    const void *rows[1] = {run->floats};
    qdsl_dynamic_floats(run, sums, 1, channel, channels, (uint8_t *)run->floats);
    p->function(&parameters, rows, run->floats, NULL);
    return run->floats;
}

/* The range of floats; `least` and `most` are clipped in the end, which is the same as each of them. */
static QDSL_APART void qdsl_dynamic_range(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                          int32_t channel, int32_t channels, uint8_t *out)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    const float *scale = run->scale + channel, *bias = p->bias != NULL ? p->bias + channel : NULL;
    float least = run->least, most = run->most;
    (void)out;
    for (; pixels > 0; pixels--, sums += channels)
        if (p->function != NULL)
            qdsl_range_of(qdsl_dynamic_values(run, sums, channel, channels), channels, &least, &most);
        else {
            QDSL_TWO_BY_TWO(channels, float value = qdsl_dynamic_float(sums, scale, bias, c);
                            least = qdsl_smaller(least, value); most = qdsl_larger(most, value))
        }
    run->least = least;
    run->most = most;
}

static QDSL_APART void qdsl_dynamic_codes(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                          int32_t channel, int32_t channels, uint8_t *out)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    const float *scale = run->scale + channel, *bias = p->bias != NULL ? p->bias + channel : NULL;
    float low = p->low, high = p->high, out_scale = run->out_scale;
    int32_t zero = run->out_zero;
    for (; pixels > 0; pixels--, sums += channels, out += p->out_channels)
        if (p->function != NULL)
            qdsl_codes_of(qdsl_dynamic_values(run, sums, channel, channels), channels, out_scale, zero, out);
        else {
            QDSL_TWO_BY_TWO(channels, float value = qdsl_dynamic_float(sums, scale, bias, c);
                            out[c] = qdsl_unsigned_code(qdsl_smaller(qdsl_larger(value, low), high), out_scale, zero))
        }
}

/* at: input, its encoding, output, scratch. */
QDSL_INLINE void qdsl_dynamic_once(const void *parameters, void *const *at, qdsl_dynamic_ready *ready,
                                   qdsl_dynamic_row *row)
{
    struct qdsl_dynamic run;
    qdsl_dynamic_begin(&run, parameters, at[1], at[3]);
    ready(&run);
    run.size = (int32_t)sizeof(float);
    run.finish = qdsl_dynamic_floats;
    qdsl_dynamic_rows(&run, at[0], at[2], row);
}

/* at: input, its encoding, output, its encoding, scratch. */
QDSL_INLINE void qdsl_dynamic_twice(const void *parameters, void *const *at, qdsl_dynamic_ready *ready,
                                    qdsl_dynamic_row *row)
{
    struct qdsl_dynamic run;
    float *encoding = at[3];
    qdsl_dynamic_begin(&run, parameters, at[1], at[4]);
    ready(&run);
    run.size = 0;
    run.finish = qdsl_dynamic_range;
    run.least = INFINITY;
    run.most = -INFINITY;
    qdsl_dynamic_rows(&run, at[0], at[2], row);
    if (run.p->function == NULL) {
        run.least = qdsl_within(run.least, run.p->low, run.p->high);
        run.most = qdsl_within(run.most, run.p->low, run.p->high);
    }
    qdsl_encoding_of(run.least, run.most, encoding);
    run.out_scale = encoding[0];
    run.out_zero = (int32_t)encoding[1];
    run.size = 1;
    run.finish = qdsl_dynamic_codes;
    qdsl_dynamic_rows(&run, at[0], at[2], row);
}

#define QDSL_DYNAMIC(name, ready, row)                                                                                 \
    static QDSL_APART void name(const void *parameters, void *const *at)                                               \
    {                                                                                                                  \
        qdsl_dynamic_once(parameters, at, ready, row);                                                                 \
    }                                                                                                                  \
    static QDSL_APART void name##_twice(const void *parameters, void *const *at)                                       \
    {                                                                                                                  \
        qdsl_dynamic_twice(parameters, at, ready, row);                                                                \
    }
