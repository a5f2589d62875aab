/* Each channel by itself with a window of 3 x 3 whose columns touch, stride 1 or 2, channels a multiple of 4: strip by
   strip (strip.h). `weights` as words are three columns of 6 words of each strip; as bytes 36 of each, as those of
   qdsl_depthwise3. Scratch of its own: the strips, QDSL_DYNAMIC_STRIP words each; the columns; sums, 4 of each output of
   a row, rounded up to 2. */
#define QDSL_DYNAMIC_STRIP 22

QDSL_INLINE void qdsl_unsigned_column(uint32_t *x, uint32_t first, uint32_t second, uint32_t third)
{
    uint32_t low = qdsl_lows(first, second), high = qdsl_highs(first, second);
    x[0] = low & 0x00ff00ffu;
    x[1] = low >> 8 & 0x00ff00ffu;
    x[2] = high & 0x00ff00ffu;
    x[3] = high >> 8 & 0x00ff00ffu;
    x[4] = third & 0x00ff00ffu;
    x[5] = third >> 8 & 0x00ff00ffu;
}

/* Columns of three rows, `step` bytes apart, to `x` until `end`; a row that is NULL holds `nothing`. */
static QDSL_APART void qdsl_unsigned_columns(const uint8_t *const *rows, uint32_t nothing, int32_t step, uint32_t *x,
                                             const uint32_t *end)
{
    const uint8_t *first = rows[0], *second = rows[1], *third = rows[2];
    if (first != NULL && second != NULL && third != NULL)
        for (; x != end; x += QDSL_COLUMN, first += step, second += step, third += step)
            qdsl_unsigned_column(x, qdsl_word(first), qdsl_word(second), qdsl_word(third));
    else
        for (int32_t at = 0; x != end; x += QDSL_COLUMN, at += step)
            qdsl_unsigned_column(x, first == NULL ? nothing : qdsl_word(first + at),
                                 second == NULL ? nothing : qdsl_word(second + at),
                                 third == NULL ? nothing : qdsl_word(third + at));
}

static QDSL_APART void qdsl_dynamic_strips_words(struct qdsl_dynamic *run)
{
    uint32_t *to = run->own;
    const uint32_t *weights = run->p->weights;
    for (int32_t c = 0; c < run->p->channels; c += 4, to += QDSL_DYNAMIC_STRIP, weights += 18) {
        memcpy(to, run->start + c, 16);
        memcpy(to + 4, weights, 72);
    }
}

static QDSL_APART void qdsl_dynamic_strips_bytes(struct qdsl_dynamic *run)
{
    uint32_t *to = run->own;
    const int8_t *weights = run->p->weights;
    for (int32_t c = 0; c < run->p->channels; c += 4, to += QDSL_DYNAMIC_STRIP) {
        memcpy(to, run->start + c, 16);
        for (int32_t i = 4; i < QDSL_DYNAMIC_STRIP; i += 2, weights += 4) {
            to[i] = qdsl_even(qdsl_word(weights));
            to[i + 1] = qdsl_odd(qdsl_word(weights));
        }
    }
}

static QDSL_APART void qdsl_dynamic_depthwise3_row(struct qdsl_dynamic *run, const uint8_t *in, int32_t top,
                                                   uint8_t *out)
{
    const struct qdsl_dynamic_parameters *p = run->p;
    const uint32_t *strip = run->own;
    uint32_t *x = run->own + p->channels / 4 * QDSL_DYNAMIC_STRIP, nothing = (uint32_t)run->zero * 0x01010101u;
    int32_t pairs = (p->out_width + 1) / 2, columns = p->stride * (2 * pairs - 1) + 3, end = p->left + p->width;
    int32_t *sums = (int32_t *)(x + columns * QDSL_COLUMN);
    end = end < columns ? end : columns;
    for (int32_t i = 0; i < columns; i++)
        if (i < p->left || i >= end)
            qdsl_unsigned_column(x + i * QDSL_COLUMN, nothing, nothing, nothing);
    for (int32_t c = 0; c < p->channels; c += 4, strip += QDSL_DYNAMIC_STRIP) {
        const uint32_t *at = x;
        const uint8_t *rows[3];
        for (int32_t i = 0, y = top; i < 3; i++, y += p->down)
            rows[i] = y < 0 || y >= p->height ? NULL : in + y * p->width * p->channels + c;
        if (end > p->left)
            qdsl_unsigned_columns(rows, nothing, p->channels, x + p->left * QDSL_COLUMN, x + end * QDSL_COLUMN);
        if (p->stride == 1)
            for (int32_t i = 0; i < pairs; i++, at += 2 * QDSL_COLUMN)
                qdsl_strip_sums_1(at, strip, sums + 8 * i);
        else
            for (int32_t i = 0; i < pairs; i++, at += 4 * QDSL_COLUMN)
                qdsl_strip_sums_2(at, strip, sums + 8 * i);
        run->finish(run, sums, p->out_width, c, 4, out + c * run->size);
    }
}

QDSL_DYNAMIC(qdsl_dynamic_depthwise3_words, qdsl_dynamic_strips_words, qdsl_dynamic_depthwise3_row)
QDSL_DYNAMIC(qdsl_dynamic_depthwise3_bytes, qdsl_dynamic_strips_bytes, qdsl_dynamic_depthwise3_row)
