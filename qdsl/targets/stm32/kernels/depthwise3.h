/* A convolution of each channel by itself with a window of 3 x 3 whose columns touch, stride 1 or 2, channels a
   multiple of 4. A row kernel: strip by strip (strip.h), first its columns as int16, then outputs. `weights` as
   words are the constants of the strips, one after the other; as bytes 36 of each strip: of each column row 0 and 1
   of channels 0 and 1 (row 0 of both first), of 2 and 3, row 2 of all four, and `constants` are biases and scales as
   in tile.h. Scratch: 24 * (stride * (out_width rounded up to 2) - stride + 3) bytes. */
struct qdsl_depthwise3_parameters {
    const void *weights;
    const uint32_t *constants;
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

/* Columns where some row is padding. */
static QDSL_APART void qdsl_border_columns(const int8_t *const *rows, uint32_t nothing, int32_t from, int32_t step,
                                           uint32_t *x, const uint32_t *end)
{
    for (; x != end; x += QDSL_COLUMN, from += step)
        qdsl_column(x, rows[0] == NULL ? nothing : qdsl_word(rows[0] + from),
                    rows[1] == NULL ? nothing : qdsl_word(rows[1] + from),
                    rows[2] == NULL ? nothing : qdsl_word(rows[2] + from));
}

/* The constants of a strip, of which `scales` words are scales, as words. */
static QDSL_APART void qdsl_strip_of_bytes(const struct qdsl_depthwise3_parameters *p, int32_t number, int32_t scales,
                                           uint32_t *strip)
{
    const int8_t *weights = (const int8_t *)p->weights + number * 36;
    const uint32_t *constants = p->constants + number * (4 + scales);
    for (int32_t i = 0; i < 4; i++)
        strip[i] = constants[i];
    for (int32_t i = 0; i < scales; i++)
        strip[QDSL_STRIP_SCALES + i] = constants[4 + i];
    for (int32_t i = 0; i < 9; i++) {
        strip[4 + 2 * i] = qdsl_even(qdsl_word(weights + 4 * i));
        strip[5 + 2 * i] = qdsl_odd(qdsl_word(weights + 4 * i));
    }
}

QDSL_INLINE void qdsl_depthwise3(const struct qdsl_depthwise3_parameters *p, const int8_t *const *rows, int8_t *out,
                                 uint32_t *x, qdsl_outputs *outputs, enum qdsl_stored stored,
                                 enum qdsl_rounding rounding)
{
    uint32_t nothing = ((uint32_t)p->x_zero & 255u) * 0x01010101u, own[QDSL_STRIP_SCALES + 8];
    int32_t pairs = p->out_width / 2, odd = p->out_width & 1, scales = rounding == QDSL_FIXED ? 8 : 4;
    int32_t columns = p->stride * (2 * (pairs + odd) - 1) + 3, end = p->left + p->width;
    struct qdsl_strip strip = {.codes = {p->zero, p->low, p->high}};
    strip.shift = qdsl_shift(&strip.codes);
    qdsl_packed(&strip.codes, strip.packed);
    end = end < columns ? end : columns;
    for (int32_t i = 0; i < columns; i++)
        if (i < p->left || i >= end)
            qdsl_column(x + i * QDSL_COLUMN, nothing, nothing, nothing);
    for (int32_t c = 0; c < p->channels; c += 4) {
        strip.constants = (const uint32_t *)p->weights + c / 4 * (QDSL_STRIP_SCALES + scales);
        if (stored == QDSL_BYTES) {
            qdsl_strip_of_bytes(p, c / 4, scales, own);
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

#define QDSL_DEPTHWISE3(name, stored, ending, rounding)                                                                \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        const struct qdsl_depthwise3_parameters *p = parameters;                                                       \
        qdsl_depthwise3(p, (const int8_t *const *)rows, out, scratch,                                                  \
                        p->stride == 1 ? qdsl_outputs_1##ending : qdsl_outputs_2##ending, stored, rounding);           \
    }
QDSL_DEPTHWISE3(qdsl_depthwise3_words, QDSL_WORDS, , QDSL_FLOAT)
QDSL_DEPTHWISE3(qdsl_depthwise3_words_any, QDSL_WORDS, _any, QDSL_FLOAT)
QDSL_DEPTHWISE3(qdsl_depthwise3_words_fixed, QDSL_WORDS, _fixed, QDSL_FIXED)
QDSL_DEPTHWISE3(qdsl_depthwise3_bytes, QDSL_BYTES, , QDSL_FLOAT)
QDSL_DEPTHWISE3(qdsl_depthwise3_bytes_any, QDSL_BYTES, _any, QDSL_FLOAT)
QDSL_DEPTHWISE3(qdsl_depthwise3_bytes_fixed, QDSL_BYTES, _fixed, QDSL_FIXED)
