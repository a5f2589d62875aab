/* Convolutions and matrices of uint8 that were quantized at run time: what they share.

   Sums of products are sum x * w - zero * sum w; float32 are made of them by the scale of the input times that of the
   weights of their channel, plus a bias. What they become is one of three things: floats; the range of the floats; codes
   by that range. The latter two go over the input twice, so that the floats need no memory. */
struct qdsl_dynamic_parameters {
    const void *weights;
    const int32_t *sums; /* of the weights of each channel; of each group filled up to 4 */
    const float *scale;
    const float *bias;
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
    const float *bias;
    float low;
    float high;
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
    run->bias = p->bias;
    run->low = p->low;
    run->high = p->high;
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

enum qdsl_ending { QDSL_FLOATS, QDSL_RANGE, QDSL_UNSIGNED };

/* What becomes of one sum, at `to` or in the range; floats are clipped, but for the range: its ends are, in the end. */
QDSL_INLINE void qdsl_dynamic_one(struct qdsl_dynamic *run, const int32_t *sum, float scale, float bias, uint8_t *to,
                                  enum qdsl_ending ending)
{
    float value = qdsl_float_of(sum) * scale + bias;
    if (ending == QDSL_RANGE) {
        run->least = qdsl_smaller(run->least, value);
        run->most = qdsl_larger(run->most, value);
        return;
    }
    value = qdsl_smaller(qdsl_larger(value, run->low), run->high);
    if (ending == QDSL_FLOATS)
        *(float *)(void *)to = value;
    else
        *to = qdsl_unsigned_code(value, run->out_scale, run->out_zero);
}

/* Four channels of one pixel after the other, then the channels left. */
QDSL_INLINE void qdsl_dynamic_each(struct qdsl_dynamic *asked, const int32_t *sums, int32_t pixels, int32_t channel,
                                   int32_t channels, uint8_t *out, enum qdsl_ending ending)
{
    struct qdsl_dynamic run = *asked;
    const float *scale = run.scale + channel, *bias = run.bias + channel;
    int32_t size = ending == QDSL_FLOATS ? 4 : 1, next = run.p->out_channels * size, c = 0;
    for (; c + 4 <= channels; c += 4) {
        float s0 = scale[c], s1 = scale[c + 1], s2 = scale[c + 2], s3 = scale[c + 3];
        float b0 = bias[c], b1 = bias[c + 1], b2 = bias[c + 2], b3 = bias[c + 3];
        const int32_t *sum = sums + c;
        uint8_t *to = out + c * size;
        for (int32_t left = pixels; left > 0; left--, sum += channels, to += next) {
            qdsl_dynamic_one(&run, sum, s0, b0, to, ending);
            qdsl_dynamic_one(&run, sum + 1, s1, b1, to + size, ending);
            qdsl_dynamic_one(&run, sum + 2, s2, b2, to + 2 * size, ending);
            qdsl_dynamic_one(&run, sum + 3, s3, b3, to + 3 * size, ending);
        }
    }
    for (; c < channels; c++)
        for (int32_t pixel = 0; pixel < pixels; pixel++)
            qdsl_dynamic_one(&run, sums + pixel * channels + c, scale[c], bias[c], out + pixel * next + c * size,
                             ending);
    if (ending == QDSL_RANGE) {
        asked->least = run.least;
        asked->most = run.most;
    }
}

static QDSL_APART void qdsl_dynamic_floats(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                           int32_t channel, int32_t channels, uint8_t *out)
{
    qdsl_dynamic_each(run, sums, pixels, channel, channels, out, QDSL_FLOATS);
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

static QDSL_APART void qdsl_dynamic_range(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                          int32_t channel, int32_t channels, uint8_t *out)
{
    if (run->p->function == NULL)
        qdsl_dynamic_each(run, sums, pixels, channel, channels, out, QDSL_RANGE);
    else
        for (; pixels > 0; pixels--, sums += channels)
            qdsl_range_of(qdsl_dynamic_values(run, sums, channel, channels), channels, &run->least, &run->most);
}

static QDSL_APART void qdsl_dynamic_codes(struct qdsl_dynamic *run, const int32_t *sums, int32_t pixels,
                                          int32_t channel, int32_t channels, uint8_t *out)
{
    if (run->p->function == NULL)
        qdsl_dynamic_each(run, sums, pixels, channel, channels, out, QDSL_UNSIGNED);
    else
        for (; pixels > 0; pixels--, sums += channels, out += run->p->out_channels)
            qdsl_codes_of(qdsl_dynamic_values(run, sums, channel, channels), channels, run->out_scale, run->out_zero,
                          out);
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
