/* A convolution of each channel by itself, channels a multiple of 4. A row kernel: four channels at a time, two taps per
   product.

   `weights` and `constants` as in tile.h, with taps for inputs, the last of an odd count beside 0.
   At most QDSL_TAPS taps. Scratch: `channels` bytes, what padding holds. */
#define QDSL_TAPS 49

struct qdsl_depthwise_parameters {
    const void *weights;
    const uint32_t *constants;
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

/* The weights of four channels for two taps. */
QDSL_INLINE const int8_t *qdsl_weights(const int8_t *at, uint32_t w[4], enum qdsl_stored stored)
{
    for (int32_t i = 0; i < 4; i++) {
        uint32_t word = qdsl_word(at + 4 * (stored == QDSL_WORDS ? i : i / 2));
        w[i] = stored == QDSL_WORDS ? word : i & 1 ? qdsl_odd(word) : qdsl_even(word);
    }
    return at + (stored == QDSL_WORDS ? 16 : 8);
}

/* One pixel, whose taps lie at `taps`, two by two until `end`. */
QDSL_INLINE void qdsl_depthwise_pixel(const struct qdsl_depthwise_parameters *p, const int8_t *const *taps,
                                      const int8_t *const *end, int8_t *out, enum qdsl_stored stored,
                                      enum qdsl_rounding rounding)
{
    struct qdsl_codes codes = {p->zero, p->low, p->high};
    const int8_t *weights = p->weights;
    const uint32_t *constants = p->constants;
    for (int32_t c = 0; c < p->channels; c += 4, constants += rounding == QDSL_FIXED ? 12 : 8) {
        int32_t a[4];
        memcpy(a, constants, sizeof a);
        for (const int8_t *const *tap = taps; tap != end; tap += 2) {
            uint32_t first = qdsl_word(tap[0] + c), second = qdsl_word(tap[1] + c), w[4];
            uint32_t low = qdsl_lows(first, second), high = qdsl_highs(first, second);
            weights = qdsl_weights(weights, w, stored);
            a[0] = qdsl_smlad(qdsl_even(low), w[0], a[0]);
            a[1] = qdsl_smlad(qdsl_odd(low), w[1], a[1]);
            a[2] = qdsl_smlad(qdsl_even(high), w[2], a[2]);
            a[3] = qdsl_smlad(qdsl_odd(high), w[3], a[3]);
        }
        for (int32_t i = 0; i < 4; i++)
            out[c + i] = (int8_t)qdsl_channel_code(a[i], constants + 4, i, &codes, rounding);
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
