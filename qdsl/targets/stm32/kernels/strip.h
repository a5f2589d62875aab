/* Strips of four channels for windows of 3 x 3: what is read, in which order, and two outputs at a time.

   A column is 6 words: the taps of row 0 and 1 of four channels, beside each other; the tap of row 2 of channels 0
   and 2, of 1 and 3. The constants of a strip are four biases, three columns of weights, four scales (in fixed point
   8 words, of each channel a multiplier and an exponent). */
#define QDSL_COLUMN 6
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
    float shift;
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

#if QDSL_DSP
_Static_assert(offsetof(struct qdsl_strip, constants) == 4 && offsetof(struct qdsl_strip, end) == 8
                   && offsetof(struct qdsl_strip, out) == 12 && offsetof(struct qdsl_strip, step) == 16
                   && offsetof(struct qdsl_strip, packed) == 20 && offsetof(struct qdsl_strip, shift) == 36,
               "where the instructions find it");
#define QDSL_STRIP_HALF(offset, a, b, c, d)                                                                            \
    "ldrd r8, r9, [r12, #" offset "]\n\t"                                                                              \
    "smlad " a ", r8, r10, " a "\n\t"                                                                                  \
    "smlad " b ", r9, r11, " b "\n\t"
#define QDSL_STRIP_LAST(offset, a, b, c, d)                                                                            \
    "ldrd r8, r9, [r12, #" offset "]\n\t"                                                                              \
    "smlabb " a ", r8, r10, " a "\n\t"                                                                                 \
    "smlatt " c ", r8, r10, " c "\n\t"                                                                                 \
    "smlabb " b ", r9, r11, " b "\n\t"                                                                                 \
    "smlatt " d ", r9, r11, " d "\n\t"
/* One column of the window: `near` is where the first output finds it, `far` the second. Registers as in tile_dsp.h. */
#define QDSL_STRIP_COLUMN(near, far)                                                                                   \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    QDSL_STRIP_HALF(#near, "r0", "r1", "r2", "r3") QDSL_STRIP_HALF(#far, "r4", "r5", "r6", "r7")                       \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    QDSL_STRIP_HALF(#near " + 8", "r2", "r3", "r0", "r1") QDSL_STRIP_HALF(#far " + 8", "r6", "r7", "r4", "r5")         \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    QDSL_STRIP_LAST(#near " + 16", "r0", "r1", "r2", "r3") QDSL_STRIP_LAST(#far " + 16", "r4", "r5", "r6", "r7")
#define QDSL_STRIP_1 QDSL_STRIP_COLUMN(0, 24) QDSL_STRIP_COLUMN(24, 48) QDSL_STRIP_COLUMN(48, 72)
#define QDSL_STRIP_2 QDSL_STRIP_COLUMN(0, 48) QDSL_STRIP_COLUMN(24, 72) QDSL_STRIP_COLUMN(48, 96)

#if QDSL_FPU
#define QDSL_OUTPUTS(name, columns, advance, codes)                                                                    \
    static QDSL_NAKED void name(QDSL_UNREAD const struct qdsl_strip *strip)                                            \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "vldr s14, [r0, #36]\n\t"                                                                              \
                "ldm r0, {r0-r8}\n\t"                                                                                  \
                "mov r12, r0\n\t"                                                                                      \
                "add r9, r1, #88\n\t"                                                                                  \
                "vldmia r9, {s10-s13}\n\t"                                                                             \
                "push {r0-r8}\n"                                                                                       \
                "1:\n\t"                                                                                               \
                "ldr lr, [sp, #4]\n\t" QDSL_BIASES("lr") columns                                                       \
                "add r12, r12, #" advance "\n\t" codes(20)                                                             \
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
QDSL_OUTPUTS(qdsl_outputs_1, QDSL_STRIP_1, "48", QDSL_CODES_WHOLE)
QDSL_OUTPUTS(qdsl_outputs_2, QDSL_STRIP_2, "96", QDSL_CODES_WHOLE)
QDSL_OUTPUTS(qdsl_outputs_1_any, QDSL_STRIP_1, "48", QDSL_CODES_ANY)
QDSL_OUTPUTS(qdsl_outputs_2_any, QDSL_STRIP_2, "96", QDSL_CODES_ANY)
#endif

/* Sums of four channels of two outputs, [2][4]. */
#define QDSL_STRIP_SUMS(name, columns)                                                                                 \
    static QDSL_NAKED void name(QDSL_UNREAD const uint32_t *x,                                                         \
                                                              QDSL_UNREAD const uint32_t *constants,                   \
                                                              QDSL_UNREAD int32_t *sums)                               \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "push {r2}\n\t"                                                                                        \
                "mov r12, r0\n\t"                                                                                      \
                "mov lr, r1\n\t" QDSL_BIASES("lr") columns                                                             \
                "pop {r8}\n\t"                                                                                         \
                "stm r8, {r0-r7}\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
QDSL_STRIP_SUMS(qdsl_strip_sums_1, QDSL_STRIP_1)
QDSL_STRIP_SUMS(qdsl_strip_sums_2, QDSL_STRIP_2)

/* Columns of three rows, `step` bytes apart, to `x` until `end`. */
static QDSL_NAKED void qdsl_columns(
    QDSL_UNREAD const int8_t *first, QDSL_UNREAD const int8_t *second,
    QDSL_UNREAD const int8_t *third, QDSL_UNREAD int32_t step,
    QDSL_UNREAD uint32_t *x, QDSL_UNREAD const uint32_t *end)
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

QDSL_INLINE void qdsl_plain_strip_sums(const uint32_t *x, const uint32_t *constants, int32_t *sums, int32_t stride)
{
    const uint32_t *w = constants + 4;
    int32_t own[8];
    memcpy(own, constants, 16);
    memcpy(own + 4, constants, 16);
    for (int32_t k = 0; k < 3; k++, x += QDSL_COLUMN, w += QDSL_COLUMN) {
        QDSL_UNROLLED
        for (int32_t i = 0; i < 8; i++) {
            const uint32_t *at = x + i / 4 * stride * QDSL_COLUMN;
            uint32_t third = at[4 + (i & 1)], weight = w[4 + (i & 1)];
            int32_t product = i & 2 ? qdsl_high(third) * qdsl_high(weight) : qdsl_low(third) * qdsl_low(weight);
            own[i] = qdsl_smlad(at[i & 3], w[i & 3], (int32_t)((uint32_t)own[i] + (uint32_t)product));
        }
    }
    memcpy(sums, own, sizeof own);
}

static QDSL_APART void qdsl_strip_sums_1(const uint32_t *x, const uint32_t *constants, int32_t *sums)
{
    qdsl_plain_strip_sums(x, constants, sums, 1);
}

static QDSL_APART void qdsl_strip_sums_2(const uint32_t *x, const uint32_t *constants, int32_t *sums)
{
    qdsl_plain_strip_sums(x, constants, sums, 2);
}
#endif

QDSL_INLINE void qdsl_outputs_by_sums(const struct qdsl_strip *strip, int32_t stride, enum qdsl_rounding rounding)
{
    int8_t *at = strip->out;
    for (const uint32_t *x = strip->x; x != strip->end; x += 2 * stride * QDSL_COLUMN, at += 2 * strip->step) {
        int8_t ends[4], *const out[2] = {at, strip->step ? at + strip->step : ends};
        int32_t sums[8];
        if (stride == 1)
            qdsl_strip_sums_1(x, strip->constants, sums);
        else
            qdsl_strip_sums_2(x, strip->constants, sums);
        qdsl_put_codes(out, sums, strip->constants + QDSL_STRIP_SCALES, 4, &strip->codes, rounding);
    }
}

static QDSL_APART void qdsl_outputs_1_fixed(const struct qdsl_strip *strip)
{
    qdsl_outputs_by_sums(strip, 1, QDSL_FIXED);
}

static QDSL_APART void qdsl_outputs_2_fixed(const struct qdsl_strip *strip)
{
    qdsl_outputs_by_sums(strip, 2, QDSL_FIXED);
}

#if !(QDSL_DSP && QDSL_FPU)
static QDSL_APART void qdsl_outputs_1(const struct qdsl_strip *strip)
{
    qdsl_outputs_by_sums(strip, 1, QDSL_FLOAT);
}

static QDSL_APART void qdsl_outputs_2(const struct qdsl_strip *strip)
{
    qdsl_outputs_by_sums(strip, 2, QDSL_FLOAT);
}
#define qdsl_outputs_1_any qdsl_outputs_1
#define qdsl_outputs_2_any qdsl_outputs_2
#endif
