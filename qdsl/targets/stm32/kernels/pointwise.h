/* A convolution of 1 x 1, or a matrix: `pixels` vectors of `channels` int8 to as many of `out_channels`. A row kernel.
   Scratch: 4 * depth bytes, depth is `channels` rounded up to 4. Both pixels of a pair are read before the first output
   is written. */
struct qdsl_pointwise_parameters {
    const void *weights;
    const uint32_t *constants;
    int32_t pixels;
    int32_t channels;
    int32_t out_channels;
    int32_t zero;
    int32_t low;
    int32_t high;
};

static QDSL_APART void qdsl_pointwise(const struct qdsl_pointwise_parameters *p, const int8_t *in, int8_t *out,
                                      void *scratch, qdsl_product *product)
{
    int32_t channels = p->channels;
    struct qdsl_tile tile = qdsl_tile_of(scratch, (channels + 3) & ~3, p->zero, p->low, p->high);
    tile.weights = p->weights;
    tile.constants = p->constants;
    for (int32_t left = p->pixels; left > 0; left -= 2) {
        int32_t second = left > 1 ? channels : 0, out_second = left > 1 ? p->out_channels : 0;
        uint32_t *rest = qdsl_spread(scratch, in, in + second, channels);
        if (channels & 3) {
            const int8_t *a = in + (channels & ~3), *b = a + second;
            int8_t ends[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
            memcpy(ends[0], a, (size_t)(channels & 3));
            memcpy(ends[1], b, (size_t)(channels & 3));
            qdsl_spread(rest, ends[0], ends[1], 4);
        }
        qdsl_set_outputs(&tile, out, out + out_second, p->out_channels);
        product(&tile);
        in += channels + second;
        out += p->out_channels + out_second;
    }
}

#define QDSL_POINTWISE(name, product)                                                                                  \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        qdsl_pointwise(parameters, rows[0], out, scratch, product);                                                    \
    }
QDSL_POINTWISE(qdsl_pointwise_words, qdsl_words)
QDSL_POINTWISE(qdsl_pointwise_bytes, qdsl_bytes)
QDSL_POINTWISE(qdsl_pointwise_words_any, qdsl_words_any)
QDSL_POINTWISE(qdsl_pointwise_bytes_any, qdsl_bytes_any)
QDSL_POINTWISE(qdsl_pointwise_words_fixed, qdsl_words_fixed)
QDSL_POINTWISE(qdsl_pointwise_bytes_fixed, qdsl_bytes_fixed)
