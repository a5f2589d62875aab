/* Each channel by itself, channels a multiple of 4, at most QDSL_DYNAMIC_TAPS taps. Weights are as those of qdsl_depthwise:
   four channels at a time, two taps per product. */
#define QDSL_DYNAMIC_TAPS 49

/* Four uint8 of two taps as four pairs of int16. */
QDSL_INLINE void qdsl_paired_unsigned(const uint8_t *a, const uint8_t *b, uint32_t pairs[4])
{
    uint32_t first = qdsl_word(a), second = qdsl_word(b);
    uint32_t low = qdsl_lows(first, second), high = qdsl_highs(first, second);
    pairs[0] = low & 0x00ff00ffu;
    pairs[1] = low >> 8 & 0x00ff00ffu;
    pairs[2] = high & 0x00ff00ffu;
    pairs[3] = high >> 8 & 0x00ff00ffu;
}

QDSL_INLINE void qdsl_dynamic_depthwise(struct qdsl_dynamic *run, const uint8_t *in, int32_t top, uint8_t *out,
                                        enum qdsl_stored stored)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    const uint8_t *taps[QDSL_DYNAMIC_TAPS + 1], *nothing = (const uint8_t *)run->own;
    const uint8_t **end = taps + ((p->reach * p->kernel + 1) & ~1);
    memset(run->own, run->zero, (size_t)p->channels);
    end[-1] = nothing;
    for (int32_t x = 0; x < p->out_width; x++, out += p->channels * run->size) {
        const uint8_t **tap = taps;
        const int8_t *weights = p->weights;
        for (int32_t i = 0, y = top; i < p->reach; i++, y += p->down)
            for (int32_t k = 0, at = x * p->stride - p->left; k < p->kernel; k++, at += p->step)
                *tap++ = y < 0 || y >= p->height || at < 0 || at >= p->width
                             ? nothing
                             : in + (y * p->width + at) * p->channels;
        for (int32_t c = 0; c < p->channels; c += 4) {
            int32_t a[4];
            memcpy(a, run->start + c, sizeof a);
            for (const uint8_t *const *at = taps; at != end; at += 2) {
                uint32_t pairs[4];
                qdsl_paired_unsigned(at[0] + c, at[1] + c, pairs);
                for (int32_t i = 0; i < 4; i++) {
                    uint32_t bytes = qdsl_word(weights + 4 * (i / 2)), weight = i & 1 ? qdsl_odd(bytes) : qdsl_even(bytes);
                    if (stored == QDSL_WORDS)
                        weight = qdsl_word(weights + 4 * i);
                    a[i] = qdsl_smlad(pairs[i], weight, a[i]);
                }
                weights += stored == QDSL_WORDS ? 16 : 8;
            }
            memcpy(run->sums[0] + c, a, sizeof a);
        }
        run->finish(run, run->sums[0], 1, 0, p->channels, out);
    }
}

static QDSL_APART void qdsl_dynamic_depthwise_row_words(struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                                        uint8_t *out)
{
    qdsl_dynamic_depthwise(run, in, top, out, QDSL_WORDS);
}

static QDSL_APART void qdsl_dynamic_depthwise_row_bytes(struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                                        uint8_t *out)
{
    qdsl_dynamic_depthwise(run, in, top, out, QDSL_BYTES);
}

static QDSL_APART void qdsl_dynamic_depthwise_ready(struct qdsl_dynamic *run)
{
    (void)run;
}

QDSL_DYNAMIC(qdsl_dynamic_depthwise_words, qdsl_dynamic_depthwise_ready, qdsl_dynamic_depthwise_row_words)
QDSL_DYNAMIC(qdsl_dynamic_depthwise_bytes, qdsl_dynamic_depthwise_ready, qdsl_dynamic_depthwise_row_bytes)
