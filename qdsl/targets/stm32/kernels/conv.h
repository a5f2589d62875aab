/* A convolution with any window. A row kernel.

   What the window holds is `segments` times `length` int8 that lie beside each other in the input: rows of the window
   where its columns touch and it sees all channels, else single taps. `depth` is segments * length rounded up to 4, in
   this order: first of each segment the inputs in fours (0, 2, 1, 3 of each), then of each segment the length % 4 left.
   Windows that reach over the border are copied together first, with the zero point of the input where nothing lies.
   Scratch: 4 * depth bytes, then 2 * (segments * length rounded up to 4). */
struct qdsl_conv_parameters {
    const void *weights;
    const uint32_t *constants;
    int32_t group_weights;   /* bytes of one group, */
    int32_t group_constants; /* and words */
    int32_t groups;
    int32_t width;
    int32_t channels;
    int32_t out_width;
    int32_t out_channels; /* per group */
    int32_t reach;        /* rows of the window, */
    int32_t kernel;       /* and columns, */
    int32_t step;         /* so far apart */
    int32_t stride;
    int32_t left; /* columns of padding */
    int32_t length;
    int32_t x_zero;
    int32_t zero;
    int32_t low;
    int32_t high;
};

/* One row of a window over the border, `count` taps of `channels` int8 from `row`, from `column` on. */
QDSL_INLINE int8_t *qdsl_copy_taps(const struct qdsl_conv_parameters *p, const int8_t *row, int32_t column,
                                   int32_t channels, int8_t *copy)
{
    for (int32_t k = 0; k < p->kernel; k++, column += p->step, copy += channels) {
        if (row == NULL || column < 0 || column >= p->width)
            memset(copy, p->x_zero, (size_t)channels);
        else
            memcpy(copy, row + column * p->channels, (size_t)channels);
    }
    return copy;
}

/* As qdsl_copy_taps where all of them lie beside each other. */
QDSL_INLINE int8_t *qdsl_copy_run(const struct qdsl_conv_parameters *p, const int8_t *row, int32_t column, int8_t *copy)
{
    int32_t before = column < 0 ? -column : 0, past = column + p->kernel - p->width, size = p->kernel * p->channels;
    int32_t from, to;
    past = row == NULL ? p->kernel : past;
    from = (before < p->kernel ? before : p->kernel) * p->channels;
    to = size - (past < 0 ? 0 : past < p->kernel ? past : p->kernel) * p->channels;
    to = to < from ? from : to;
    if (from > 0)
        memset(copy, p->x_zero, (size_t)from);
    if (to > from)
        memcpy(copy + from, row + column * p->channels + from, (size_t)(to - from));
    if (size > to)
        memset(copy + to, p->x_zero, (size_t)(size - to));
    return copy + size;
}

/* A window over the border. */
static QDSL_APART void qdsl_copy_window(const struct qdsl_conv_parameters *p, const int8_t *const *rows, int32_t column,
                                        int32_t from, int8_t *copy)
{
    int32_t channels = p->channels / p->groups;
    for (int32_t i = 0; i < p->reach; i++) {
        if (p->length == p->kernel * p->channels)
            copy = qdsl_copy_run(p, rows[i], column, copy);
        else
            copy = qdsl_copy_taps(p, rows[i] == NULL ? NULL : rows[i] + from, column, channels, copy);
    }
}

/* Where the window of a pixel lies: `segments` of a row `apart` bytes apart; in rows of the input from `offset` on, or
   where `rows` is NULL in a copy, one row after the other. */
struct qdsl_seen {
    const int8_t *const *rows;
    const int8_t *copy;
    int32_t offset;
    int32_t apart;
};

QDSL_INLINE const int8_t *qdsl_segment(const struct qdsl_seen *seen, int32_t row, int32_t length)
{
    return seen->rows == NULL ? seen->copy + row * length : seen->rows[row] + seen->offset;
}

/* What is left of `count` int8 beside fours, as pairs at `rest`, `odd` of which are there. */
QDSL_INLINE int32_t qdsl_spread_rest(uint32_t *rest, int32_t odd, const int8_t *a, const int8_t *b, int32_t count)
{
    for (int32_t k = 0; k < count; k++, odd++) {
        int8_t *pair = (int8_t *)(rest + (odd & ~1)) + 2 * (odd & 1);
        qdsl_put_half(pair, a[k]);
        qdsl_put_half(pair + 4, b[k]);
    }
    return odd;
}

/* Windows of two pixels as a tile holds them, `across` segments in a row. */
static QDSL_APART void qdsl_gather(uint32_t *x, const struct qdsl_seen seen[2], int32_t reach, int32_t across,
                                   int32_t length)
{
    uint32_t *rest = x + (length & ~3) * reach * across;
    int32_t odd = 0, ends = length & 3, fours = length - ends;
    for (int32_t i = 0; i < reach; i++) {
        const int8_t *a = qdsl_segment(&seen[0], i, length * across), *b = qdsl_segment(&seen[1], i, length * across);
        for (int32_t j = 0; j < across; j++, a += seen[0].apart, b += seen[1].apart) {
            x = qdsl_spread(x, a, b, fours);
            if (ends)
                odd = qdsl_spread_rest(rest, odd, a + fours, b + fours, ends);
        }
    }
}

/* As qdsl_gather where both windows lie within the input and a row of each is one segment, from `a` and `b` on. */
QDSL_INLINE void qdsl_gather_rows(uint32_t *x, const int8_t *const *rows, int32_t a, int32_t b, int32_t reach,
                                  int32_t length)
{
    uint32_t *rest = x + (length & ~3) * reach;
    int32_t odd = 0;
    QDSL_UNROLLED
    for (int32_t i = 0; i < reach; i++) {
        const int8_t *first = rows[i] + a, *second = rows[i] + b;
        QDSL_UNROLLED
        for (int32_t k = 0; k < (length & ~3); k += 4, x += 4)
            qdsl_spread(x, first + k, second + k, 4);
        odd = qdsl_spread_rest(rest, odd, first + (length & ~3), second + (length & ~3), length & 3);
    }
}

static QDSL_APART void qdsl_gather_9x3(uint32_t *x, const int8_t *const *rows, int32_t a, int32_t b)
{
    qdsl_gather_rows(x, rows, a, b, 3, 9);
}

static QDSL_APART void qdsl_gather_border(const struct qdsl_conv_parameters *p, const int8_t *const *rows,
                                          const int32_t at[2], int32_t group, uint32_t *x, int32_t depth, int32_t whole)
{
    int32_t channels = p->channels / p->groups, length = p->length;
    struct qdsl_seen seen[2];
    for (int32_t pixel = 0; pixel < 2; pixel++) {
        int8_t *copy = (int8_t *)(x + depth) + pixel * depth;
        seen[pixel] = (struct qdsl_seen){rows, copy, at[pixel] * p->channels + group * channels, p->step * p->channels};
        if (whole && at[pixel] >= 0 && at[pixel] + (p->kernel - 1) * p->step < p->width)
            continue;
        qdsl_copy_window(p, rows, at[pixel], group * channels, copy);
        seen[pixel].rows = NULL;
        seen[pixel].apart = length;
    }
    qdsl_gather(x, seen, p->reach, p->kernel * channels / length, length);
}

static QDSL_APART void qdsl_conv(const struct qdsl_conv_parameters *p, const int8_t *const *rows, int8_t *out,
                                 uint32_t *x, qdsl_product *product)
{
    int32_t taps = p->reach * p->kernel, depth = (taps * (p->channels / p->groups) + 3) & ~3, whole = 1;
    int32_t pixel = p->groups * p->out_channels, last = p->width - (p->kernel - 1) * p->step;
    int32_t narrow = p->length == 9 && p->reach == 3 && p->channels == 3;
    struct qdsl_tile tile = qdsl_tile_of(x, depth, p->zero, p->low, p->high);
    for (int32_t i = 0; i < p->reach; i++)
        whole &= rows[i] != NULL;
    x[depth - 2] = x[depth - 1] = 0;
    for (int32_t column = 0; column < p->out_width; column += 2) {
        int32_t two = column + 1 < p->out_width, at[2];
        at[0] = column * p->stride - p->left;
        at[1] = two ? at[0] + p->stride : at[0];
        tile.weights = p->weights;
        tile.constants = p->constants;
        for (int32_t group = 0; group < p->groups; group++, out += p->out_channels) {
            if (narrow && whole && at[0] >= 0 && at[1] < last)
                qdsl_gather_9x3(x, rows, at[0] * 3, at[1] * 3);
            else
                qdsl_gather_border(p, rows, at, group, x, depth, whole);
            qdsl_set_outputs(&tile, out, two ? out + pixel : out, p->out_channels);
            product(&tile);
            tile.weights = (const int8_t *)tile.weights + p->group_weights;
            tile.constants += p->group_constants;
        }
        out += pixel;
    }
}

#define QDSL_CONV(name, product)                                                                                       \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        qdsl_conv(parameters, (const int8_t *const *)rows, out, scratch, product);                                     \
    }
QDSL_CONV(qdsl_conv_words, qdsl_words)
QDSL_CONV(qdsl_conv_bytes, qdsl_bytes)
QDSL_CONV(qdsl_conv_words_any, qdsl_words_any)
QDSL_CONV(qdsl_conv_bytes_any, qdsl_bytes_any)
QDSL_CONV(qdsl_conv_words_fixed, qdsl_words_fixed)
QDSL_CONV(qdsl_conv_bytes_fixed, qdsl_bytes_fixed)
