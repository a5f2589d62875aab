/* A convolution of each channel by itself, channels a multiple of 4. A row kernel: four channels at a time, two taps
   per product.

   `weights` and `constants` as in tile.h, with taps for inputs, the last of an odd count beside 0. At most QDSL_TAPS
   taps. Scratch: `channels` bytes, what padding holds. */
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

#if QDSL_DSP
/* Sums of four channels, from `channel` on, of the taps that lie at `taps`, two by two until `end`. Sums stay in r0-r3;
   r4 points to taps, r5 is the channel, lr points to weights, which come in r10 and r11. */
#define QDSL_TWO_WEIGHTS_WORDS                                                                                         \
    "ldrd r10, r11, [lr], #8\n\t"
#define QDSL_TWO_WEIGHTS_BYTES                                                                                         \
    "ldr r11, [lr], #4\n\t"                                                                                            \
    "sxtb16 r10, r11\n\t"                                                                                              \
    "sxtb16 r11, r11, ror #8\n\t"
#define QDSL_TAP_SUMS(name, two_weights)                                                                               \
    static QDSL_NAKED void name(QDSL_UNREAD const int8_t *const *taps, QDSL_UNREAD const int8_t *const *end,           \
                                QDSL_UNREAD int32_t channel, QDSL_UNREAD const uint32_t *constants,                    \
                                QDSL_UNREAD const int8_t *weights, QDSL_UNREAD int32_t *sums)                          \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "ldr lr, [sp, #36]\n\t"                                                                                \
                "mov r12, r1\n\t"                                                                                      \
                "mov r4, r0\n\t"                                                                                       \
                "mov r5, r2\n\t"                                                                                       \
                "ldm r3, {r0-r3}\n"                                                                                    \
                "1:\n\t"                                                                                               \
                "ldrd r6, r7, [r4], #8\n\t"                                                                            \
                "ldr r6, [r6, r5]\n\t"                                                                                 \
                "ldr r7, [r7, r5]\n\t" two_weights                                                                     \
                "pkhbt r8, r6, r7, lsl #16\n\t"                                                                        \
                "pkhtb r7, r7, r6, asr #16\n\t"                                                                        \
                "sxtb16 r6, r8\n\t"                                                                                    \
                "sxtb16 r8, r8, ror #8\n\t"                                                                            \
                "smlad r0, r6, r10, r0\n\t"                                                                            \
                "smlad r1, r8, r11, r1\n\t" two_weights                                                                \
                "sxtb16 r6, r7\n\t"                                                                                    \
                "sxtb16 r7, r7, ror #8\n\t"                                                                            \
                "smlad r2, r6, r10, r2\n\t"                                                                            \
                "smlad r3, r7, r11, r3\n\t"                                                                            \
                "cmp r4, r12\n\t"                                                                                      \
                "bne 1b\n\t"                                                                                           \
                "ldr r8, [sp, #40]\n\t"                                                                                \
                "stm r8, {r0-r3}\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
QDSL_TAP_SUMS(qdsl_tap_sums_words, QDSL_TWO_WEIGHTS_WORDS)
QDSL_TAP_SUMS(qdsl_tap_sums_bytes, QDSL_TWO_WEIGHTS_BYTES)
#else
QDSL_INLINE void qdsl_plain_tap_sums(const int8_t *const *taps, const int8_t *const *end, int32_t channel,
                                     const uint32_t *constants, const int8_t *weights, int32_t *sums,
                                     enum qdsl_stored stored)
{
    memcpy(sums, constants, 16);
    for (; taps != end; taps += 2, weights += stored == QDSL_WORDS ? 16 : 8)
        for (int32_t i = 0; i < 4; i++) {
            int32_t first = taps[0][channel + i] * qdsl_plain_weight(weights, i, 0, stored);
            int32_t second = taps[1][channel + i] * qdsl_plain_weight(weights, i, 1, stored);
            sums[i] = (int32_t)((uint32_t)sums[i] + (uint32_t)first + (uint32_t)second);
        }
}

static QDSL_APART void qdsl_tap_sums_words(const int8_t *const *taps, const int8_t *const *end, int32_t channel,
                                           const uint32_t *constants, const int8_t *weights, int32_t *sums)
{
    qdsl_plain_tap_sums(taps, end, channel, constants, weights, sums, QDSL_WORDS);
}

static QDSL_APART void qdsl_tap_sums_bytes(const int8_t *const *taps, const int8_t *const *end, int32_t channel,
                                           const uint32_t *constants, const int8_t *weights, int32_t *sums)
{
    qdsl_plain_tap_sums(taps, end, channel, constants, weights, sums, QDSL_BYTES);
}
#endif

/* One pixel, whose taps lie at `taps`, two by two until `end`. */
QDSL_INLINE void qdsl_depthwise_pixel(const struct qdsl_depthwise_parameters *p, const int8_t *const *taps,
                                      const int8_t *const *end, int8_t *out, enum qdsl_stored stored,
                                      enum qdsl_rounding rounding)
{
    struct qdsl_codes codes = {p->zero, p->low, p->high};
    const int8_t *weights = p->weights;
    const uint32_t *constants = p->constants;
    int32_t group = (int32_t)(end - taps) * (stored == QDSL_WORDS ? 8 : 4), channels = p->channels;
    for (int32_t c = 0; c < channels; c += 4, weights += group, constants += rounding == QDSL_FIXED ? 12 : 8) {
        int32_t sums[4];
        if (stored == QDSL_WORDS)
            qdsl_tap_sums_words(taps, end, c, constants, weights, sums);
        else
            qdsl_tap_sums_bytes(taps, end, c, constants, weights, sums);
        for (int32_t i = 0; i < 4; i++)
            out[c + i] = (int8_t)qdsl_channel_code(sums[i], constants + 4, i, &codes, rounding);
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
