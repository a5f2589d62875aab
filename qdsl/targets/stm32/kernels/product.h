/* Sums of products of two pixels with all channels of an output, four at a time.

   x: [depth / 2][2 pixels][2] int16, what the pixels' windows hold.
   weights, as words:  [channels / 4][depth / 2][4 channels][2] int16;
            as bytes:  [channels / 4][depth / 2][2][int8 of input 0 of two channels, of input 1 of both].
   bias: [channels], with what the zero point of the input adds; scale: float [channels], or in fixed point multiplier and
   exponent of each. `channels` are rounded up to 4 in all three, `depth` is a multiple of 4; what fills is 0. */
struct qdsl_tile {
    const uint32_t *x;
    const void *weights;
    const int32_t *bias;
    const void *scale;
    int8_t *out[2];
    int32_t depth;
    int32_t channels;
    struct qdsl_codes codes;
};

typedef void qdsl_product(const struct qdsl_tile *tile);

enum qdsl_stored { QDSL_WORDS, QDSL_BYTES };
enum qdsl_rounding { QDSL_FLOAT, QDSL_FIXED };

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
    int32_t scales = 4 * (rounding == QDSL_FIXED ? 8 : 4);
    for (int32_t c = 0; c < tile->channels; c += 4, bias += 4, scale += scales) {
        int32_t count = tile->channels - c < 4 ? tile->channels - c : 4;
        int32_t a[4] = {bias[0], bias[1], bias[2], bias[3]}, b[4] = {bias[0], bias[1], bias[2], bias[3]};
        const uint32_t *x = tile->x, *end = x + tile->depth;
        for (; x != end; x += 2) {
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

static QDSL_APART void qdsl_words(const struct qdsl_tile *tile)
{
    qdsl_plain_product(tile, QDSL_WORDS, QDSL_FLOAT);
}

static QDSL_APART void qdsl_bytes(const struct qdsl_tile *tile)
{
    qdsl_plain_product(tile, QDSL_BYTES, QDSL_FLOAT);
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
