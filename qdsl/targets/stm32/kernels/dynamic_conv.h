/* Any window of uint8 times int8. Weights of each group are as those of qdsl_product, one vector: the window row by row,
   channel by channel. Two pixels at a time. */

/* Words of four uint8 of two pixels: inputs 0 and 2 of each word as two int16, then 1 and 3. */
QDSL_INLINE uint32_t *qdsl_spread_unsigned(uint32_t *x, const uint8_t *a, const uint8_t *b, int32_t count)
{
    for (const uint8_t *end = a + (count & ~3); a != end; a += 4, b += 4, x += 4) {
        uint32_t first = qdsl_word(a), second = qdsl_word(b);
        x[0] = first & 0x00ff00ffu;
        x[1] = second & 0x00ff00ffu;
        x[2] = first >> 8 & 0x00ff00ffu;
        x[3] = second >> 8 & 0x00ff00ffu;
    }
    return x;
}

/* All channels of a group, a multiple of 4, of the two pixels whose inputs lie from `x` to `end`. */
struct qdsl_all_sums {
    const int32_t *start;
    const uint32_t *x;
    uint32_t skipped; /* pairs of inputs of the unrolled loop that its first turn leaves out */
    const uint32_t *end;
    int32_t *sums[2];
    const int32_t *sums_end; /* of sums[0] */
    const int8_t *weights;
};

#if QDSL_DSP
_Static_assert(offsetof(struct qdsl_all_sums, x) == 4 && offsetof(struct qdsl_all_sums, skipped) == 8
                   && offsetof(struct qdsl_all_sums, end) == 12 && offsetof(struct qdsl_all_sums, sums) == 16
                   && offsetof(struct qdsl_all_sums, sums_end) == 24 && offsetof(struct qdsl_all_sums, weights) == 28,
               "where the instructions find it");
/* Registers as in tile_dsp.h; the first seven words of what is asked lie on the stack. */
#define QDSL_ALL_SUMS(name, pair, bytes)                                                                               \
    static QDSL_NAKED void name(QDSL_UNREAD const struct qdsl_all_sums *asked)                                         \
    {                                                                                                                  \
        __asm__("push {r4-r11, lr}\n\t"                                                                                \
                "ldr lr, [r0, #28]\n\t"                                                                                \
                "ldm r0, {r0-r6}\n\t" QDSL_START("r2", bytes, "r12")                                                  \
                "push {r0-r6}\n"                                                                                       \
                "2:\n\t"                                                                                               \
                "ldrd r8, r12, [sp]\n\t" QDSL_BIASES("r8")                                                             \
                "str r8, [sp]\n\t"                                                                                     \
                "ldr pc, [sp, #8]\n\t"                                                                                 \
                ".balign 4\n" QDSL_PAIRS(pair, "12")                                                                   \
                "ldrd r8, r9, [sp, #16]\n\t"                                                                           \
                "ldr r10, [sp, #24]\n\t"                                                                               \
                "stm r8!, {r0-r3}\n\t"                                                                                 \
                "stm r9!, {r4-r7}\n\t"                                                                                 \
                "strd r8, r9, [sp, #16]\n\t"                                                                           \
                "cmp r8, r10\n\t"                                                                                      \
                "bne 2b\n\t"                                                                                           \
                "add sp, sp, #28\n\t"                                                                                  \
                "pop {r4-r11, pc}\n\t");                                                                               \
    }
QDSL_ALL_SUMS(qdsl_all_sums_words, QDSL_PAIR_WORDS, 44)
QDSL_ALL_SUMS(qdsl_all_sums_bytes, QDSL_PAIR_BYTES, 60)
#else
#define QDSL_ALL_SUMS(name, fours, bytes)                                                                              \
    static QDSL_APART void name(const struct qdsl_all_sums *asked)                                                     \
    {                                                                                                                  \
        struct qdsl_tile tile = {.x = asked->x, .end = asked->end};                                                    \
        const int8_t *weights = asked->weights;                                                                        \
        int32_t channels = (int32_t)(asked->sums_end - asked->sums[0]);                                                \
        for (int32_t c = 0; c < channels; c += 4, weights += (bytes) * (asked->end - asked->x)) {                      \
            int32_t sums[8];                                                                                           \
            fours(&tile, (const uint32_t *)(const void *)(asked->start + c), weights, sums);                           \
            memcpy(asked->sums[0] + c, sums, 16);                                                                      \
            memcpy(asked->sums[1] + c, sums + 4, 16);                                                                  \
        }                                                                                                              \
    }
QDSL_ALL_SUMS(qdsl_all_sums_words, qdsl_sums_words, 8)
QDSL_ALL_SUMS(qdsl_all_sums_bytes, qdsl_sums_bytes, 4)
#endif

QDSL_INLINE uint8_t *qdsl_copied(uint8_t *to, const uint8_t *from, int32_t count)
{
    for (; count >= 4; count -= 4, to += 4, from += 4)
        qdsl_put_word(to, qdsl_word(from));
    for (; count > 0; count--)
        *to++ = *from++;
    return to;
}

/* A window over the channels from `from` on, the zero point where nothing lies: row by row where its columns touch and lie
   within the input, else tap by tap. */
static QDSL_APART void qdsl_dynamic_window(const struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                           int32_t column, int32_t from, uint8_t *copy)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    int32_t channels = p->channels / p->groups, across = p->kernel * channels;
    int32_t whole = p->groups == 1 && p->step == 1 && column >= 0 && column + p->kernel <= p->width;
    for (int32_t i = 0, y = top; i < p->reach; i++, y += p->down) {
        const uint8_t *row;
        if (y < 0 || y >= p->height) {
            memset(copy, run->zero, (size_t)across);
            copy += across;
            continue;
        }
        row = in + y * p->width * p->channels + from;
        if (whole) {
            copy = qdsl_copied(copy, row + column * channels, across);
        } else {
            for (int32_t k = 0, at = column; k < p->kernel; k++, at += p->step)
                if (at < 0 || at >= p->width) {
                    memset(copy, run->zero, (size_t)channels);
                    copy += channels;
                } else {
                    copy = qdsl_copied(copy, row + at * p->channels, channels);
                }
        }
    }
}

QDSL_INLINE void qdsl_dynamic_conv(struct qdsl_dynamic *run, const uint8_t *in, int32_t top, uint8_t *out,
                                   void (*all_sums)(const struct qdsl_all_sums *), int32_t size)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    int32_t channels = p->channels / p->groups, outs = p->out_channels / p->groups, padded = (outs + 3) & ~3;
    int32_t depth = (p->reach * p->kernel * channels + 3) & ~3, next = p->out_channels * run->size;
    int32_t direct = p->reach * p->kernel == 1 && p->groups == 1 && channels == depth; /* no padding, then */
    uint32_t *x = run->own;
    uint8_t *copies[2] = {(uint8_t *)(x + depth), (uint8_t *)(x + depth) + depth};
    qdsl_put_word(copies[0] + depth - 4, 0);
    qdsl_put_word(copies[1] + depth - 4, 0);
    for (int32_t column = 0; column < p->out_width; column += 2, out += 2 * next) {
        const uint8_t *from[2] = {copies[0], copies[1]};
        int32_t at = column * p->stride - p->left, two = column + 1 < p->out_width;
        for (int32_t group = 0; group < p->groups; group++) {
            struct qdsl_all_sums asked = {
                run->start + group * padded, x, (uint32_t)(-depth / 2) & 7u, x + depth,
                {run->sums[0] + group * outs, run->sums[1] + group * outs}, run->sums[0] + group * outs + padded,
                (const int8_t *)p->weights + group * padded * depth * size};
            if (direct) {
                from[0] = in + (top * p->width + at) * channels;
                from[1] = from[0] + two * p->stride * channels;
            } else {
                qdsl_dynamic_window(run, in, top, at, group * channels, copies[0]);
                qdsl_dynamic_window(run, in, top, at + two * p->stride, group * channels, copies[1]);
            }
            qdsl_spread_unsigned(x, from[0], from[1], depth);
            all_sums(&asked);
        }
        run->finish(run, run->sums[0], 1, 0, p->out_channels, out);
        if (two)
            run->finish(run, run->sums[1], 1, 0, p->out_channels, out + next);
    }
}

static QDSL_APART void qdsl_dynamic_conv_row_words(struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                                   uint8_t *out)
{
    qdsl_dynamic_conv(run, in, top, out, qdsl_all_sums_words, 2);
}

static QDSL_APART void qdsl_dynamic_conv_row_bytes(struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                                   uint8_t *out)
{
    qdsl_dynamic_conv(run, in, top, out, qdsl_all_sums_bytes, 1);
}

static QDSL_APART void qdsl_dynamic_conv_ready(struct qdsl_dynamic *run)
{
    (void)run;
}

QDSL_DYNAMIC(qdsl_dynamic_conv_words, qdsl_dynamic_conv_ready, qdsl_dynamic_conv_row_words)
QDSL_DYNAMIC(qdsl_dynamic_conv_bytes, qdsl_dynamic_conv_ready, qdsl_dynamic_conv_row_bytes)
