/* All channels of a tile, by the form of its weights and the kind of its rounding. Without an ending in float32, for
   codes that may be any int8, an even zero point, and sums that are known to stay within 15 bits once scaled; `any`
   without these conditions; `fixed` in fixed point. */
QDSL_INLINE int32_t qdsl_group_bytes(const struct qdsl_tile *tile, enum qdsl_stored stored)
{
    return (int32_t)(tile->end - tile->x) * (stored == QDSL_WORDS ? 8 : 4);
}

#if !QDSL_DSP
/* Two channels at a time, whose sums stay in registers. */
QDSL_INLINE void qdsl_plain_sums(const struct qdsl_tile *tile, const uint32_t *constants, const int8_t *weights,
                                 int32_t *sums, enum qdsl_stored stored)
{
    QDSL_UNROLLED
    for (int32_t c = 0; c < 4; c += 2) {
        const int8_t *pair = weights, *x = (const int8_t *)tile->x, *end = (const int8_t *)tile->end;
        uint32_t a = constants[c], b = constants[c + 1], second_a = a, second_b = b;
        for (; x != end; x += 8, pair += stored == QDSL_WORDS ? 16 : 8) {
            QDSL_UNROLLED
            for (int32_t i = 0; i < 2; i++) {
                int32_t first = qdsl_half(x + 2 * i), second = qdsl_half(x + 4 + 2 * i);
                int32_t weight_a = qdsl_plain_weight(pair, c, i, stored);
                int32_t weight_b = qdsl_plain_weight(pair, c + 1, i, stored);
                a += (uint32_t)(first * weight_a);
                b += (uint32_t)(first * weight_b);
                second_a += (uint32_t)(second * weight_a);
                second_b += (uint32_t)(second * weight_b);
            }
        }
        sums[c] = (int32_t)a;
        sums[c + 1] = (int32_t)b;
        sums[c + 4] = (int32_t)second_a;
        sums[c + 5] = (int32_t)second_b;
    }
}

static QDSL_APART void qdsl_sums_words(const struct qdsl_tile *tile, const uint32_t *constants, const void *weights,
                                       int32_t *sums)
{
    qdsl_plain_sums(tile, constants, weights, sums, QDSL_WORDS);
}

static QDSL_APART void qdsl_sums_bytes(const struct qdsl_tile *tile, const uint32_t *constants, const void *weights,
                                       int32_t *sums)
{
    qdsl_plain_sums(tile, constants, weights, sums, QDSL_BYTES);
}
#endif

QDSL_INLINE void qdsl_by_sums(const struct qdsl_tile *tile, enum qdsl_stored stored, enum qdsl_rounding rounding)
{
    const int8_t *weights = tile->weights;
    const uint32_t *constants = tile->constants;
    int32_t channels = (int32_t)(tile->out_end - tile->out[0]), group = qdsl_group_bytes(tile, stored);
    for (int32_t c = 0; c < channels; c += 4, weights += group, constants += rounding == QDSL_FIXED ? 12 : 8) {
        int8_t *const out[2] = {tile->out[0] + c, tile->out[1] + c};
        int32_t sums[8];
        if (stored == QDSL_WORDS)
            qdsl_sums_words(tile, constants, weights, sums);
        else
            qdsl_sums_bytes(tile, constants, weights, sums);
        qdsl_put_codes(out, sums, constants + 4, channels - c < 4 ? channels - c : 4, &tile->codes, rounding);
    }
}

#if QDSL_DSP && QDSL_FPU
/* Channels left beside the fours are computed as four, elsewhere. */
QDSL_INLINE void qdsl_by_fours(const struct qdsl_tile *tile, qdsl_product *fours, enum qdsl_stored stored)
{
    int32_t channels = (int32_t)(tile->out_end - tile->out[0]), left = channels & 3, done = channels - left;
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
    last.constants += 2 * done;
    last.weights = (const int8_t *)last.weights + done / 4 * qdsl_group_bytes(tile, stored);
    qdsl_set_outputs(&last, ends[0], ends[1], 4);
    fours(&last);
    memcpy(tile->out[0] + done, ends[0], (size_t)left);
    memcpy(tile->out[1] + done, ends[1], (size_t)left);
}
#define QDSL_ALL(fours, stored) qdsl_by_fours(tile, fours, stored)
#else
#define QDSL_ALL(fours, stored) qdsl_by_sums(tile, stored, QDSL_FLOAT)
#endif

static QDSL_APART void qdsl_words(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_words, QDSL_WORDS);
}

static QDSL_APART void qdsl_words_any(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_words_any, QDSL_WORDS);
}

static QDSL_APART void qdsl_words_fixed(const struct qdsl_tile *tile)
{
    qdsl_by_sums(tile, QDSL_WORDS, QDSL_FIXED);
}

static QDSL_APART void qdsl_bytes(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_bytes, QDSL_BYTES);
}

static QDSL_APART void qdsl_bytes_any(const struct qdsl_tile *tile)
{
    QDSL_ALL(qdsl_fours_bytes_any, QDSL_BYTES);
}

static QDSL_APART void qdsl_bytes_fixed(const struct qdsl_tile *tile)
{
    qdsl_by_sums(tile, QDSL_BYTES, QDSL_FIXED);
}
