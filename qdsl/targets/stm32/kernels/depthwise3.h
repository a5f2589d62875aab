/* A convolution of each channel by itself with a window of 3 x 3 whose columns touch, stride 1 or 2, channels a multiple of
   4. A row kernel: a strip of four channels at a time, first its columns as int16, then two outputs at a time.

   A column is 6 words: the taps of row 0 and 1 of four channels, beside each other; the tap of row 2 of channels 0 and 2,
   of 1 and 3. As words the constants of a strip are 26: four biases, three columns of weights, four scales; as bytes
   its weights are 9: of each column row 0 and 1 of channels 0 and 1 (row 0 of both first), of 2 and 3, row 2 of all four.
   Scratch: 24 * (stride * (out_width rounded up to 2) - stride + 3) bytes. */
struct qdsl_depthwise3_parameters {
    const void *weights;
    const int32_t *bias; /* within `weights` as words, */
    const void *scale;   /* too */
    int32_t width;
    int32_t channels;
    int32_t out_width;
    int32_t stride;
    int32_t left; /* columns of padding */
    int32_t x_zero;
    int32_t zero;
    int32_t low;
    int32_t high;
};

#define QDSL_COLUMN 6
#define QDSL_STRIP 26
#define QDSL_STRIP_SCALES 22

/* Outputs until `end` of the columns, two by two, `step` bytes apart. The second is stored first: at `step` 0 the first
   alone remains. */
struct qdsl_strip {
    const uint32_t *x;
    const uint32_t *constants;
    const uint32_t *end;
    int8_t *out;
    int32_t step;
    uint32_t packed[4];
    struct qdsl_codes codes;
};

typedef void qdsl_outputs(const struct qdsl_strip *strip);

QDSL_INLINE void qdsl_column(uint32_t *x, uint32_t first, uint32_t second, uint32_t third)
{
    uint32_t low = qdsl_lows(first, second), high = qdsl_highs(first, second);
    x[0] = qdsl_even(low);
    x[1] = qdsl_odd(low);
    x[2] = qdsl_even(high);
    x[3] = qdsl_odd(high);
    x[4] = qdsl_even(third);
    x[5] = qdsl_odd(third);
}

#if QDSL_DSP && QDSL_FPU
#define QDSL_STRIP_HALF(offset, a, b)                                                                                  \
    "ldrd r8, r9, [r12, #" offset "]\n\t"                                                                              \
    "smlad " a ", r8, r10, " a "\n\t"                                                                                  \
    "smlad " b ", r9, r11, " b "\n\t"
#define QDSL_STRIP_LAST(offset, a, b, c, d)                                                                            \
    "ldrd r8, r9, [r12, #" offset "]\n\t"                                                                              \
    "smlabb " a ", r8, r10, " a "\n\t"                                                                                 \
    "smlatt " c ", r8, r10, " c "\n\t"                                                                                 \
    "smlabb " b ", r9, r11, " b "\n\t"                                                                                 \
    "smlatt " d ", r9, r11, " d "\n\t"
/* One column of the window: `near` is where the first output finds it, `far` the second. */
#define QDSL_STRIP_COLUMN(near, far)                                                                                   \
    "ldrd r10, r11, [lr], #8\n\t" QDSL_STRIP_HALF(#near, "r0", "r1") QDSL_STRIP_HALF(#far, "r4", "r5")                 \
    "ldrd r10, r11, [lr], #8\n\t" QDSL_STRIP_HALF(#near " + 8", "r2", "r3") QDSL_STRIP_HALF(#far " + 8", "r6", "r7")   \
    "ldrd r10, r11, [lr], #8\n\t" QDSL_STRIP_LAST(#near " + 16", "r0", "r1", "r2", "r3")                               \
        QDSL_STRIP_LAST(#far " + 16", "r4", "r5", "r6", "r7")

/* Registers as in QDSL_PRODUCT; r12 points to columns, lr to constants. */
#define QDSL_OUTPUTS(name, columns, advance, narrowed)                                                                 \
    static __attribute__((naked, noinline, unused)) void name(__attribute__((unused)) const struct qdsl_strip *strip)  \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "ldm r0, {r0-r8}\n\t"                                                                                  \
                "mov r12, r0\n\t"                                                                                      \
                "add r9, r1, #88\n\t"                                                                                  \
                "vldmia r9, {s10-s13}\n\t"                                                                             \
                "push {r0-r8}\n"                                                                                       \
                "1:\n\t"                                                                                               \
                "ldr lr, [sp, #4]\n\t"                                                                                 \
                "ldm lr!, {r0-r3}\n\t"                                                                                 \
                "mov r4, r0\n\t"                                                                                       \
                "mov r5, r1\n\t"                                                                                       \
                "mov r6, r2\n\t"                                                                                       \
                "mov r7, r3\n\t" columns                                                                               \
                "add r12, r12, #" advance "\n\t" QDSL_SCALED narrowed                                                  \
                "ldrd r8, r9, [sp, #20]\n\t"                                                                           \
                "ldrd r10, r11, [sp, #28]\n\t" QDSL_CODES("r0", "r1", "r2", "r3")                                      \
                    QDSL_CODES("r4", "r5", "r6", "r7")                                                                 \
                "ldrd r1, r2, [sp, #8]\n\t"                                                                            \
                "ldr r3, [sp, #16]\n\t"                                                                                \
                "str r4, [r2, r3]\n\t"                                                                                 \
                "str r0, [r2]\n\t"                                                                                     \
                "add r2, r2, r3, lsl #1\n\t"                                                                           \
                "str r2, [sp, #12]\n\t"                                                                                \
                "cmp r12, r1\n\t"                                                                                      \
                "bne 1b\n\t"                                                                                           \
                "add sp, sp, #36\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
#define QDSL_NEAR QDSL_STRIP_COLUMN(0, 24) QDSL_STRIP_COLUMN(24, 48) QDSL_STRIP_COLUMN(48, 72)
#define QDSL_FAR QDSL_STRIP_COLUMN(0, 48) QDSL_STRIP_COLUMN(24, 72) QDSL_STRIP_COLUMN(48, 96)
QDSL_OUTPUTS(qdsl_outputs_1, QDSL_NEAR, "48", "")
QDSL_OUTPUTS(qdsl_outputs_2, QDSL_FAR, "96", "")
QDSL_OUTPUTS(qdsl_outputs_1_wide, QDSL_NEAR, "48", QDSL_NARROWED)
QDSL_OUTPUTS(qdsl_outputs_2_wide, QDSL_FAR, "96", QDSL_NARROWED)

/* Columns of three rows, `step` bytes apart, to `x` until `end`. */
static __attribute__((naked, noinline, unused)) void qdsl_columns(
    __attribute__((unused)) const int8_t *first, __attribute__((unused)) const int8_t *second,
    __attribute__((unused)) const int8_t *third, __attribute__((unused)) int32_t step,
    __attribute__((unused)) uint32_t *x, __attribute__((unused)) const uint32_t *end)
{
    __asm__("push {r4-r11, lr}\n\t"
            "ldr lr, [sp, #36]\n\t"
            "ldr r7, [sp, #40]\n\t"
            "mov r12, #0\n"
            "1:\n\t"
            "ldr r4, [r0, r12]\n\t"
            "ldr r5, [r1, r12]\n\t"
            "ldr r6, [r2, r12]\n\t"
            "add r12, r12, r3\n\t"
            "pkhbt r8, r4, r5, lsl #16\n\t"
            "pkhtb r10, r5, r4, asr #16\n\t"
            "sxtb16 r9, r8, ror #8\n\t"
            "sxtb16 r8, r8\n\t"
            "sxtb16 r11, r10, ror #8\n\t"
            "sxtb16 r10, r10\n\t"
            "strd r8, r9, [lr], #8\n\t"
            "strd r10, r11, [lr], #8\n\t"
            "sxtb16 r8, r6\n\t"
            "sxtb16 r9, r6, ror #8\n\t"
            "strd r8, r9, [lr], #8\n\t"
            "cmp lr, r7\n\t"
            "bne 1b\n\t"
            "pop {r4-r11, pc}\n\t");
}
#else
static QDSL_APART void qdsl_columns(const int8_t *first, const int8_t *second, const int8_t *third, int32_t step,
                                    uint32_t *x, const uint32_t *end)
{
    for (; x != end; x += QDSL_COLUMN, first += step, second += step, third += step)
        qdsl_column(x, qdsl_word(first), qdsl_word(second), qdsl_word(third));
}

QDSL_INLINE void qdsl_plain_outputs(const struct qdsl_strip *strip, int32_t stride)
{
    const uint32_t *constants = strip->constants;
    int8_t *out = strip->out;
    for (const uint32_t *x = strip->x; x != strip->end; x += 2 * stride * QDSL_COLUMN, out += 2 * strip->step)
        for (int32_t second = strip->step ? 1 : 0; second >= 0; second--) {
            const uint32_t *at = x + second * stride * QDSL_COLUMN, *w = constants + 4;
            int32_t sums[4];
            float scales[4];
            memcpy(sums, constants, sizeof sums);
            memcpy(scales, constants + QDSL_STRIP_SCALES, sizeof scales);
            for (int32_t k = 0; k < 3; k++, at += QDSL_COLUMN, w += QDSL_COLUMN)
                for (int32_t i = 0; i < 4; i++) {
                    uint32_t third = at[4 + (i & 1)], weight = w[4 + (i & 1)];
                    int32_t product = i < 2 ? qdsl_low(third) * qdsl_low(weight) : qdsl_high(third) * qdsl_high(weight);
                    sums[i] = qdsl_smlad(at[i], w[i], (int32_t)((uint32_t)sums[i] + (uint32_t)product));
                }
            for (int32_t i = 0; i < 4; i++)
                out[second * strip->step + i] = (int8_t)qdsl_code(sums[i], scales[i], &strip->codes);
        }
}

static QDSL_APART void qdsl_outputs_1(const struct qdsl_strip *strip)
{
    qdsl_plain_outputs(strip, 1);
}

static QDSL_APART void qdsl_outputs_2(const struct qdsl_strip *strip)
{
    qdsl_plain_outputs(strip, 2);
}
#define qdsl_outputs_1_wide qdsl_outputs_1
#define qdsl_outputs_2_wide qdsl_outputs_2
#endif

/* Columns where some row is padding. */
static QDSL_APART void qdsl_border_columns(const int8_t *const *rows, uint32_t nothing, int32_t from, int32_t step,
                                           uint32_t *x, const uint32_t *end)
{
    for (; x != end; x += QDSL_COLUMN, from += step)
        qdsl_column(x, rows[0] == NULL ? nothing : qdsl_word(rows[0] + from),
                    rows[1] == NULL ? nothing : qdsl_word(rows[1] + from),
                    rows[2] == NULL ? nothing : qdsl_word(rows[2] + from));
}

/* The constants of a strip as words. */
static QDSL_APART void qdsl_strip_of_bytes(const struct qdsl_depthwise3_parameters *p, int32_t channel, uint32_t *strip)
{
    const int8_t *weights = (const int8_t *)p->weights + channel * 9;
    memcpy(strip, p->bias + channel, 16);
    memcpy(strip + QDSL_STRIP_SCALES, (const float *)p->scale + channel, 16);
    for (int32_t i = 0; i < 9; i++) {
        strip[4 + 2 * i] = qdsl_even(qdsl_word(weights + 4 * i));
        strip[5 + 2 * i] = qdsl_odd(qdsl_word(weights + 4 * i));
    }
}

QDSL_INLINE void qdsl_depthwise3(const struct qdsl_depthwise3_parameters *p, const int8_t *const *rows, int8_t *out,
                                 uint32_t *x, qdsl_outputs *outputs, enum qdsl_stored stored)
{
    uint32_t nothing = ((uint32_t)p->x_zero & 255u) * 0x01010101u, own[QDSL_STRIP];
    int32_t pairs = p->out_width / 2, odd = p->out_width & 1;
    int32_t columns = p->stride * (2 * (pairs + odd) - 1) + 3, end = p->left + p->width;
    struct qdsl_strip strip = {.codes = {p->zero, p->low, p->high}};
    qdsl_packed(&strip.codes, strip.packed);
    end = end < columns ? end : columns;
    for (int32_t i = 0; i < columns; i++)
        if (i < p->left || i >= end)
            qdsl_column(x + i * QDSL_COLUMN, nothing, nothing, nothing);
    for (int32_t c = 0; c < p->channels; c += 4) {
        strip.constants = (const uint32_t *)p->weights + c / 4 * QDSL_STRIP;
        if (stored == QDSL_BYTES) {
            qdsl_strip_of_bytes(p, c, own);
            strip.constants = own;
        }
        if (end > p->left && rows[0] != NULL && rows[1] != NULL && rows[2] != NULL)
            qdsl_columns(rows[0] + c, rows[1] + c, rows[2] + c, p->channels, x + p->left * QDSL_COLUMN,
                         x + end * QDSL_COLUMN);
        else if (end > p->left)
            qdsl_border_columns(rows, nothing, c, p->channels, x + p->left * QDSL_COLUMN, x + end * QDSL_COLUMN);
        strip.x = x;
        strip.end = x + 2 * p->stride * pairs * QDSL_COLUMN;
        strip.out = out + c;
        strip.step = p->channels;
        if (pairs > 0)
            outputs(&strip);
        if (odd) {
            strip.x = strip.end;
            strip.end += 2 * p->stride * QDSL_COLUMN;
            strip.out += 2 * pairs * p->channels;
            strip.step = 0;
            outputs(&strip);
        }
    }
}

#define QDSL_DEPTHWISE3(name, one, two, stored)                                                                        \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        const struct qdsl_depthwise3_parameters *p = parameters;                                                       \
        qdsl_depthwise3(p, (const int8_t *const *)rows, out, scratch, p->stride == 1 ? one : two, stored);             \
    }
QDSL_DEPTHWISE3(qdsl_depthwise3_words, qdsl_outputs_1, qdsl_outputs_2, QDSL_WORDS)
QDSL_DEPTHWISE3(qdsl_depthwise3_words_wide, qdsl_outputs_1_wide, qdsl_outputs_2_wide, QDSL_WORDS)
QDSL_DEPTHWISE3(qdsl_depthwise3_bytes, qdsl_outputs_1, qdsl_outputs_2, QDSL_BYTES)
QDSL_DEPTHWISE3(qdsl_depthwise3_bytes_wide, qdsl_outputs_1_wide, qdsl_outputs_2_wide, QDSL_BYTES)
