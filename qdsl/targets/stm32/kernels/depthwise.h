/* A convolution of each channel by itself, channels a multiple of 4. A row kernel: four channels at a time, two taps per
   product.

   weights, as words: [channels / 4][(taps + 1) / 2][4 channels][2 taps] int16;
            as bytes: [channels / 4][(taps + 1) / 2][2][int8 of tap 0 of two channels, of tap 1 of both].
   At most QDSL_TAPS taps. Scratch: `channels` bytes, what padding holds. */
#define QDSL_TAPS 49

struct qdsl_depthwise_parameters {
    const void *weights;
    const int32_t *bias;
    const void *scale;
    int32_t width;
    int32_t channels;
    int32_t out_width;
    int32_t reach;  /* rows of the window, */
    int32_t kernel; /* and columns, */
    int32_t step;   /* so far apart */
    int32_t stride;
    int32_t left; /* columns of padding */
    int32_t x_zero;
    int32_t zero;
    int32_t low;
    int32_t high;
};

/* One pixel, whose taps lie at `taps`, two by two until `end`. */
QDSL_INLINE void qdsl_depthwise_pixel(const struct qdsl_depthwise_parameters *p, const int8_t *const *taps,
                                      const int8_t *const *end, int8_t *out, enum qdsl_stored stored,
                                      enum qdsl_rounding rounding)
{
    struct qdsl_codes codes = {p->zero, p->low, p->high};
    const int8_t *weights = p->weights, *scale = p->scale;
    for (int32_t c = 0; c < p->channels; c += 4) {
        int32_t a[4];
        memcpy(a, p->bias + c, sizeof a);
        for (const int8_t *const *tap = taps; tap != end; tap += 2) {
            uint32_t first = qdsl_word(tap[0] + c), second = qdsl_word(tap[1] + c), w[4];
            uint32_t low = qdsl_lows(first, second), high = qdsl_highs(first, second);
            weights = qdsl_weights(weights, w, stored);
            a[0] = qdsl_smlad(qdsl_even(low), w[0], a[0]);
            a[1] = qdsl_smlad(qdsl_odd(low), w[1], a[1]);
            a[2] = qdsl_smlad(qdsl_even(high), w[2], a[2]);
            a[3] = qdsl_smlad(qdsl_odd(high), w[3], a[3]);
        }
        qdsl_put_codes(out + c, a, scale, 4, &codes, rounding);
        scale += rounding == QDSL_FIXED ? 32 : 16;
    }
}

QDSL_INLINE void qdsl_depthwise(const struct qdsl_depthwise_parameters *p, const int8_t *const *rows, int8_t *out,
                                void *scratch, enum qdsl_stored stored, enum qdsl_rounding rounding)
{
    const int8_t *taps[QDSL_TAPS + 1], **end = taps + ((p->reach * p->kernel + 1) & ~1), *nothing = scratch;
    memset(scratch, p->x_zero, (size_t)p->channels);
    end[-1] = nothing;
    for (int32_t x = 0; x < p->out_width; x++, out += p->channels) {
        const int8_t **tap = taps;
        for (int32_t i = 0; i < p->reach; i++)
            for (int32_t k = 0, at = x * p->stride - p->left; k < p->kernel; k++, at += p->step)
                *tap++ = rows[i] == NULL || at < 0 || at >= p->width ? nothing : rows[i] + at * p->channels;
        qdsl_depthwise_pixel(p, taps, end, out, stored, rounding);
    }
}

#define QDSL_DEPTHWISE(name, stored, rounding)                                                                         \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        qdsl_depthwise(parameters, (const int8_t *const *)rows, out, scratch, stored, rounding);                       \
    }
QDSL_DEPTHWISE(qdsl_depthwise_words, QDSL_WORDS, QDSL_FLOAT)
QDSL_DEPTHWISE(qdsl_depthwise_bytes, QDSL_BYTES, QDSL_FLOAT)
QDSL_DEPTHWISE(qdsl_depthwise_words_fixed, QDSL_WORDS, QDSL_FIXED)
QDSL_DEPTHWISE(qdsl_depthwise_bytes_fixed, QDSL_BYTES, QDSL_FIXED)
