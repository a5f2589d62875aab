/* All channels of a tile, by the form of its weights and the kind of its rounding. Without an ending in float32, for
   codes that may be any int8, an even zero point, and sums that are known to stay within 15 bits once scaled; `any`
   without these conditions; `fixed` in fixed point. */
QDSL_INLINE int32_t qdsl_group_bytes(const struct qdsl_tile *tile, enum qdsl_stored stored)
{
    return (int32_t)(tile->end - tile->x) * (stored == QDSL_WORDS ? 8 : 4);
}

#if !QDSL_DSP
QDSL_INLINE void qdsl_plain_sums(const struct qdsl_tile *tile, const uint32_t *constants, const int8_t *weights,
                                 int32_t *sums, enum qdsl_stored stored)
{
    memcpy(sums, constants, 16);
    memcpy(sums + 4, constants, 16);
    for (const uint32_t *x = tile->x; x != tile->end; x += 2, weights += stored == QDSL_WORDS ? 16 : 8)
        for (int32_t i = 0; i < 4; i++) {
            uint32_t bytes = qdsl_word(weights + 4 * (i / 2)), weight = i & 1 ? qdsl_odd(bytes) : qdsl_even(bytes);
            if (stored == QDSL_WORDS)
                weight = qdsl_word(weights + 4 * i);
            sums[i] = qdsl_smlad(x[0], weight, sums[i]);
            sums[4 + i] = qdsl_smlad(x[1], weight, sums[4 + i]);
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
