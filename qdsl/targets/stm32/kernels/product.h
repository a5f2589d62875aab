/* Sums of products of two pixels with all channels of an output, four at a time.

   x: [depth / 2][2 pixels][2] int16, what the pixels' windows hold.
   weights, as words:  [channels / 4][depth / 2][4 channels][2] int16;
            as bytes:  [channels / 4][depth / 2][2][int8 of input 0 of two channels, of input 1 of both].
   bias: [channels], with what the zero point of the input adds; scale: float [channels], or in fixed point multiplier and
   exponent of each. `channels` are rounded up to 4 in all three, `depth` is a multiple of 4; what fills is 0. */
struct qdsl_tile {
    const int32_t *bias;
    const uint32_t *x;
    uint32_t skipped; /* bytes of the unrolled loop that the first turn leaves out, and 1 */
    const uint32_t *end; /* of x */
    int8_t *out[2];
    const int8_t *out_end; /* of out[0] */
    const void *scale;
    uint32_t packed[4]; /* `codes` as qdsl_packed says */
    const void *weights;
    struct qdsl_codes codes;
};

typedef void qdsl_product(const struct qdsl_tile *tile);

enum qdsl_stored { QDSL_WORDS, QDSL_BYTES };
enum qdsl_rounding { QDSL_FLOAT, QDSL_FIXED };

/* For four codes in a word, that become unsigned as 128 is added: zero + 128 twice; what is added with saturation so that
   `high` becomes 255; what is then taken away so that `low` becomes 0; `low` four times. */
QDSL_INLINE void qdsl_packed(const struct qdsl_codes *codes, uint32_t packed[4])
{
    uint32_t above = 127u - (uint32_t)codes->high, below = (uint32_t)codes->low + 128u;
    packed[0] = qdsl_pair_of(codes->zero + 128, codes->zero + 128);
    packed[1] = above * 0x01010101u;
    packed[2] = (above + below) * 0x01010101u;
    packed[3] = ((uint32_t)codes->low & 255u) * 0x01010101u;
}

/* A tile without outputs; `x` is the scratch for `depth` inputs of two pixels. */
QDSL_INLINE struct qdsl_tile qdsl_tile_of(uint32_t *x, int32_t depth, int32_t zero, int32_t low, int32_t high)
{
    struct qdsl_tile tile = {.x = x, .end = x + depth, .codes = {zero, low, high}};
    tile.skipped = (uint32_t)(-depth / 4) & 3u;
    qdsl_packed(&tile.codes, tile.packed);
    return tile;
}

QDSL_INLINE void qdsl_set_outputs(struct qdsl_tile *tile, int8_t *first, int8_t *second, int32_t channels)
{
    tile->out[0] = first;
    tile->out[1] = second;
    tile->out_end = first + channels;
}

/* The weights of four channels for one pair of inputs. */
QDSL_INLINE const int8_t *qdsl_weights(const int8_t *at, uint32_t w[4], enum qdsl_stored stored)
{
    if (stored == QDSL_WORDS) {
        for (int32_t i = 0; i < 4; i++)
            w[i] = qdsl_word(at + 4 * i);
        return at + 16;
    }
    for (int32_t i = 0; i < 2; i++) {
        w[2 * i] = qdsl_even(qdsl_word(at + 4 * i));
        w[2 * i + 1] = qdsl_odd(qdsl_word(at + 4 * i));
    }
    return at + 8;
}

QDSL_INLINE void qdsl_put_codes(int8_t *out, const int32_t *sums, const void *scale, int32_t count,
                                const struct qdsl_codes *codes, enum qdsl_rounding rounding)
{
    for (int32_t i = 0; i < count; i++)
        out[i] = (int8_t)(rounding == QDSL_FIXED ? qdsl_fixed_code(sums[i], (const int32_t *)scale + 2 * i, codes)
                                                 : qdsl_code(sums[i], ((const float *)scale)[i], codes));
}

QDSL_INLINE void qdsl_plain_product(const struct qdsl_tile *tile, enum qdsl_stored stored, enum qdsl_rounding rounding)
{
    const int8_t *weights = tile->weights, *scale = tile->scale;
    const int32_t *bias = tile->bias;
    int32_t scales = rounding == QDSL_FIXED ? 32 : 16, channels = (int32_t)(tile->out_end - tile->out[0]);
    for (int32_t c = 0; c < channels; c += 4, bias += 4, scale += scales) {
        int32_t count = channels - c < 4 ? channels - c : 4;
        int32_t a[4] = {bias[0], bias[1], bias[2], bias[3]}, b[4] = {bias[0], bias[1], bias[2], bias[3]};
        for (const uint32_t *x = tile->x; x != tile->end; x += 2) {
            uint32_t w[4];
            weights = qdsl_weights(weights, w, stored);
            for (int32_t i = 0; i < 4; i++) {
                a[i] = qdsl_smlad(x[0], w[i], a[i]);
                b[i] = qdsl_smlad(x[1], w[i], b[i]);
            }
        }
        qdsl_put_codes(tile->out[0] + c, a, scale, count, &tile->codes, rounding);
        qdsl_put_codes(tile->out[1] + c, b, scale, count, &tile->codes, rounding);
    }
}

#if QDSL_DSP && QDSL_FPU
/* Four sums in four core registers each of two pixels (r0-r3, r4-r7), one register beside another for each pair of inputs:
   r8, r9 are the pixels', r10, r11 the weights', r12 and lr point to both. The pixels' frame lies on the stack in the order
   of struct qdsl_tile. */
#define QDSL_PAIR_WORDS                                                                                                \
    "ldrd r8, r9, [r12], #8\n\t"                                                                                       \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    "smlad r0, r8, r10, r0\n\t"                                                                                        \
    "smlad r4, r9, r10, r4\n\t"                                                                                        \
    "smlad r1, r8, r11, r1\n\t"                                                                                        \
    "smlad r5, r9, r11, r5\n\t"                                                                                        \
    "ldrd r10, r11, [lr], #8\n\t"                                                                                      \
    "smlad r2, r8, r10, r2\n\t"                                                                                        \
    "smlad r6, r9, r10, r6\n\t"                                                                                        \
    "smlad r3, r8, r11, r3\n\t"                                                                                        \
    "smlad r7, r9, r11, r7\n\t"
#define QDSL_PAIR_BYTES                                                                                                \
    "ldrd r8, r9, [r12], #8\n\t"                                                                                       \
    "ldr r10, [lr], #4\n\t"                                                                                            \
    "sxtb16 r11, r10\n\t"                                                                                              \
    "sxtb16 r10, r10, ror #8\n\t"                                                                                      \
    "smlad r0, r8, r11, r0\n\t"                                                                                        \
    "smlad r4, r9, r11, r4\n\t"                                                                                        \
    "ldr r11, [lr], #4\n\t"                                                                                            \
    "smlad r1, r8, r10, r1\n\t"                                                                                        \
    "smlad r5, r9, r10, r5\n\t"                                                                                        \
    "sxtb16 r10, r11\n\t"                                                                                              \
    "sxtb16 r11, r11, ror #8\n\t"                                                                                      \
    "smlad r2, r8, r10, r2\n\t"                                                                                        \
    "smlad r6, r9, r10, r6\n\t"                                                                                        \
    "smlad r3, r8, r11, r3\n\t"                                                                                        \
    "smlad r7, r9, r11, r7\n\t"

/* Sums in r0-r7 times four scales, rounded, back in r0-r7. */
#define QDSL_SCALED                                                                                                    \
    "vmov s0, s1, r0, r1\n\t"                                                                                          \
    "vmov s2, s3, r2, r3\n\t"                                                                                          \
    "vmov s4, s5, r4, r5\n\t"                                                                                          \
    "vmov s6, s7, r6, r7\n\t"                                                                                          \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "vcvt.f32.s32 s\\i, s\\i\n\t"                                                                                      \
    ".endr\n\t"                                                                                                        \
    ".irp i, 0, 1, 2, 3\n\t"                                                                                           \
    "vmul.f32 s\\i, s\\i, s1\\i\n\t"                                                                                   \
    ".endr\n\t"                                                                                                        \
    "vmul.f32 s4, s4, s10\n\t"                                                                                         \
    "vmul.f32 s5, s5, s11\n\t"                                                                                         \
    "vmul.f32 s6, s6, s12\n\t"                                                                                         \
    "vmul.f32 s7, s7, s13\n\t"                                                                                         \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "vcvtr.s32.f32 s\\i, s\\i\n\t"                                                                                     \
    ".endr\n\t"                                                                                                        \
    "vmov r0, r1, s0, s1\n\t"                                                                                          \
    "vmov r2, r3, s2, s3\n\t"                                                                                          \
    "vmov r4, r5, s4, s5\n\t"                                                                                          \
    "vmov r6, r7, s6, s7\n\t"

/* Four whole numbers in a, b, c, d to four codes in a, by what qdsl_packed made, in r8-r11. */
#define QDSL_CODES(a, b, c, d)                                                                                         \
    "pkhbt " a ", " a ", " c ", lsl #16\n\t"                                                                            \
    "pkhbt " b ", " b ", " d ", lsl #16\n\t"                                                                            \
    "sadd16 " a ", " a ", r8\n\t"                                                                                      \
    "sadd16 " b ", " b ", r8\n\t"                                                                                      \
    "usat16 " a ", #8, " a "\n\t"                                                                                      \
    "usat16 " b ", #8, " b "\n\t"                                                                                      \
    "orr " a ", " a ", " b ", lsl #8\n\t"                                                                              \
    "uqadd8 " a ", " a ", r9\n\t"                                                                                      \
    "uqsub8 " a ", " a ", r10\n\t"                                                                                     \
    "uadd8 " a ", " a ", r11\n\t"

/* Whole numbers that may pass 16 bits. */
#define QDSL_NARROWED                                                                                                  \
    ".irp i, 0, 1, 2, 3, 4, 5, 6, 7\n\t"                                                                               \
    "ssat r\\i, #15, r\\i\n\t"                                                                                         \
    ".endr\n\t"

/* Four channels in a turn of loop 2, sixteen inputs in a turn of loop 1, which starts within. `pair` is so many bytes. */
#define QDSL_PRODUCT(name, pair, bytes, narrowed)                                                                      \
    static __attribute__((naked, noinline, unused)) void name(__attribute__((unused)) const struct qdsl_tile *tile)    \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "ldr lr, [r0, #48]\n\t"                                                                                \
                "ldm r0, {r0-r11}\n\t"                                                                                 \
                "mov r12, #2 * " #bytes "\n\t"                                                                         \
                "mul r2, r2, r12\n\t"                                                                                  \
                "adr r12, 1f\n\t"                                                                                      \
                "add r2, r2, r12\n\t"                                                                                  \
                "orr r2, r2, #1\n\t"                                                                                   \
                "push {r0-r11}\n"                                                                                      \
                "2:\n\t"                                                                                               \
                "ldrd r8, r12, [sp]\n\t"                                                                               \
                "ldm r8!, {r0-r3}\n\t"                                                                                 \
                "str r8, [sp]\n\t"                                                                                     \
                "mov r4, r0\n\t"                                                                                       \
                "mov r5, r1\n\t"                                                                                       \
                "mov r6, r2\n\t"                                                                                       \
                "mov r7, r3\n\t"                                                                                       \
                "ldr pc, [sp, #8]\n\t"                                                                                 \
                ".balign 4\n"                                                                                          \
                "1:\n\t"                                                                                               \
                ".rept 8\n\t" pair ".endr\n\t"                                                                         \
                "ldr r10, [sp, #12]\n\t"                                                                               \
                "cmp r12, r10\n\t"                                                                                     \
                "bne 1b\n\t"                                                                                           \
                "ldr r8, [sp, #28]\n\t"                                                                                \
                "vldmia r8!, {s10-s13}\n\t"                                                                            \
                "str r8, [sp, #28]\n\t" QDSL_SCALED narrowed                                                          \
                "ldrd r8, r9, [sp, #32]\n\t"                                                                           \
                "ldrd r10, r11, [sp, #40]\n\t" QDSL_CODES("r0", "r1", "r2", "r3")                                      \
                    QDSL_CODES("r4", "r5", "r6", "r7")                                                                 \
                "ldrd r2, r3, [sp, #16]\n\t"                                                                           \
                "ldr r8, [sp, #24]\n\t"                                                                                \
                "str r0, [r2], #4\n\t"                                                                                 \
                "str r4, [r3], #4\n\t"                                                                                 \
                "strd r2, r3, [sp, #16]\n\t"                                                                           \
                "cmp r2, r8\n\t"                                                                                       \
                "bne 2b\n\t"                                                                                           \
                "add sp, sp, #48\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
QDSL_PRODUCT(qdsl_fours_words, QDSL_PAIR_WORDS, 44, "")
QDSL_PRODUCT(qdsl_fours_words_wide, QDSL_PAIR_WORDS, 44, QDSL_NARROWED)
QDSL_PRODUCT(qdsl_fours_bytes, QDSL_PAIR_BYTES, 60, "")
QDSL_PRODUCT(qdsl_fours_bytes_wide, QDSL_PAIR_BYTES, 60, QDSL_NARROWED)

/* All channels: those left beside the fours are computed as four, elsewhere. */
QDSL_INLINE void qdsl_fours(const struct qdsl_tile *tile, qdsl_product *fours, int32_t size)
{
    int32_t left = (int32_t)(tile->out_end - tile->out[0]) & 3, done = (int32_t)(tile->out_end - tile->out[0]) - left;
    int8_t ends[2][4];
    struct qdsl_tile last;
    if (left == 0) {
        fours(tile);
        return;
    }
    last = *tile;
    last.out_end -= left;
    if (done > 0)
        fours(&last);
    last.bias += done;
    last.scale = (const float *)last.scale + done;
    last.weights = (const int8_t *)last.weights + done * (int32_t)(tile->end - tile->x) * size;
    qdsl_set_outputs(&last, ends[0], ends[1], 4);
    fours(&last);
    memcpy(tile->out[0] + done, ends[0], (size_t)left);
    memcpy(tile->out[1] + done, ends[1], (size_t)left);
}
#define QDSL_ALL(fours, stored) qdsl_fours(tile, fours, (stored) == QDSL_WORDS ? 2 : 1)
#else
#define QDSL_ALL(fours, stored) qdsl_plain_product(tile, stored, QDSL_FLOAT)
#endif

/* As float32. `wide` are those whose sums may pass 16 bits by far once scaled. */
static QDSL_APART void qdsl_words(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_words, QDSL_WORDS);
}

static QDSL_APART void qdsl_words_wide(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_words_wide, QDSL_WORDS);
}

static QDSL_APART void qdsl_bytes(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_bytes, QDSL_BYTES);
}

static QDSL_APART void qdsl_bytes_wide(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_bytes_wide, QDSL_BYTES);
}

static QDSL_APART void qdsl_words_fixed(const struct qdsl_tile *tile)
{
    qdsl_plain_product(tile, QDSL_WORDS, QDSL_FIXED);
}

static QDSL_APART void qdsl_bytes_fixed(const struct qdsl_tile *tile)
{
    qdsl_plain_product(tile, QDSL_BYTES, QDSL_FIXED);
}

/* Words of int8 of two pixels, as `tile.x` holds them: inputs 0 and 2 of each word, then 1 and 3. */
QDSL_INLINE uint32_t *qdsl_spread(uint32_t *x, const int8_t *a, const int8_t *b, int32_t count)
{
    for (const int8_t *end = a + (count & ~3); a != end; a += 4, b += 4, x += 4) {
        uint32_t first = qdsl_word(a), second = qdsl_word(b);
        x[0] = qdsl_even(first);
        x[1] = qdsl_even(second);
        x[2] = qdsl_odd(first);
        x[3] = qdsl_odd(second);
    }
    return x;
}
