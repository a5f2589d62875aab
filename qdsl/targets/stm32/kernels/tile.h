/* Sums of products of two pixels with all channels of an output, four at a time: what is read, in which order.

   x: [depth / 2][2 pixels][2] int16, what the windows of two pixels hold.
   weights, as words: [channels / 4][depth / 2][4 channels][2] int16;
            as bytes: [channels / 4][depth / 2][2][int8 of input 0 of two channels, of input 1 of both].
   constants: [channels / 4][4 biases, 4 scales], a bias with what the zero point of the input adds, a scale as float32;
   in fixed point 8 words of scales, of each channel a multiplier and an exponent.
   `channels` are rounded up to 4 in both, `depth` is a multiple of 4; what fills is 0. */
struct qdsl_tile {
    const uint32_t *constants;
    const uint32_t *x;
    uint32_t skipped; /* pairs of inputs of the unrolled loop that its first turn leaves out */
    const uint32_t *end; /* of x */
    int8_t *out[2];
    const int8_t *out_end; /* of out[0] */
    float shift;
    uint32_t packed[4];
    const void *weights;
    struct qdsl_codes codes;
};

typedef void qdsl_product(const struct qdsl_tile *tile);

enum qdsl_stored { QDSL_WORDS, QDSL_BYTES };
enum qdsl_rounding { QDSL_FLOAT, QDSL_FIXED };

/* Codes without a sign, as 128 is added: 1.5 * 2^23 + zero + 128, where float32 has steps of 1. What is added to it
   leaves a whole number in the lower half, ties to even where `zero` is even. */
QDSL_INLINE float qdsl_shift(const struct qdsl_codes *codes)
{
    return 12582912.0f + (float)(codes->zero + 128);
}

/* For four codes in a word: zero + 128 twice; what is added with saturation so that `high` becomes 255; what is then
   taken away so that `low` becomes 0; `low` four times. */
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
    tile.skipped = (uint32_t)(-depth / 2) & 7u;
    tile.shift = qdsl_shift(&tile.codes);
    qdsl_packed(&tile.codes, tile.packed);
    return tile;
}

QDSL_INLINE void qdsl_set_outputs(struct qdsl_tile *tile, int8_t *first, int8_t *second, int32_t channels)
{
    tile->out[0] = first;
    tile->out[1] = second;
    tile->out_end = first + channels;
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

/* A weight of a pair of inputs of four channels. */
QDSL_INLINE int32_t qdsl_plain_weight(const int8_t *pair, int32_t channel, int32_t input, enum qdsl_stored stored)
{
    if (stored == QDSL_WORDS)
        return qdsl_half(pair + 4 * channel + 2 * input);
    return pair[4 * (channel / 2) + 2 * input + (channel & 1)];
}

/* The code of channel i of four from its sum; `scales` as in constants. */
QDSL_INLINE int32_t qdsl_channel_code(int32_t sum, const uint32_t *scales, int32_t i, const struct qdsl_codes *codes,
                                 enum qdsl_rounding rounding)
{
    int32_t pair[2];
    float scale;
    if (rounding == QDSL_FIXED) {
        memcpy(pair, scales + 2 * i, sizeof pair);
        return qdsl_fixed_code(sum, pair, codes);
    }
    memcpy(&scale, scales + i, sizeof scale);
    return qdsl_code(sum, scale, codes);
}

/* Codes of `count` channels of two pixels from their sums, [2][4]. What is read is held here, since what is written
   could be it for all that the compiler knows. */
QDSL_INLINE void qdsl_put_codes(int8_t *const out[2], const int32_t sums[8], const uint32_t *scales, int32_t count,
                                const struct qdsl_codes *codes, enum qdsl_rounding rounding)
{
    struct qdsl_codes own = *codes;
    int8_t *first = out[0], *second = out[1];
    for (int32_t i = 0; i < count; i++) {
        int32_t sum = sums[i], other = sums[4 + i];
        int32_t at = rounding == QDSL_FIXED ? 2 * i : i, last = rounding == QDSL_FIXED ? at + 1 : at;
        uint32_t scale[2] = {scales[at], scales[last]};
        first[i] = (int8_t)qdsl_channel_code(sum, scale, 0, &own, rounding);
        second[i] = (int8_t)qdsl_channel_code(other, scale, 0, &own, rounding);
    }
}
