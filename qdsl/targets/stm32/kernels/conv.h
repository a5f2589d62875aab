/* A convolution with any window. A row kernel.

   What the window holds is `segments` times `length` int8 that lie beside each other in the input: rows of the window
   where its columns touch and it sees all channels, else single taps. `depth` is segments * length rounded up to 4, in
   this order: first of each segment the inputs in fours (0, 2, 1, 3 of each), then of each segment the length % 4 left.
   Windows that reach over the border are copied together first, with the zero point of the input where nothing lies.
   Scratch: 4 * depth bytes, then 2 * (segments * length rounded up to 4). */
struct qdsl_conv_parameters {
    const void *weights;
    const int32_t *bias;
    const void *scale;
    int32_t group_bytes; /* of weights */
    int32_t scale_bytes; /* of one channel */
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

/* A window over the border. */
static QDSL_APART void qdsl_copy_window(const struct qdsl_conv_parameters *p, const int8_t *const *rows, int32_t column,
                                        int32_t from, int8_t *copy)
{
    int32_t channels = p->channels / p->groups;
    for (int32_t i = 0; i < p->reach; i++)
        for (int32_t k = 0, at = column; k < p->kernel; k++, at += p->step, copy += channels) {
            if (rows[i] == NULL || at < 0 || at >= p->width)
                memset(copy, p->x_zero, (size_t)channels);
            else
                memcpy(copy, rows[i] + at * p->channels + from, (size_t)channels);
        }
}

/* Whether the window at `column` lies within the input. */
QDSL_INLINE int qdsl_inside(const struct qdsl_conv_parameters *p, int32_t column, int whole)
{
    return whole && column >= 0 && column + (p->kernel - 1) * p->step < p->width;
}

static QDSL_APART void qdsl_conv(const struct qdsl_conv_parameters *p, const int8_t *const *rows, int8_t *out,
                                 uint32_t *x, qdsl_product *product)
{
    int32_t channels = p->channels / p->groups, taps = p->reach * p->kernel, length = p->length, ends = length & 3;
    int32_t across = p->kernel * channels / length, apart = p->step * p->channels;
    int32_t total = taps * channels, depth = (total + 3) & ~3, next = p->groups * p->out_channels;
    int8_t *copies[2] = {(int8_t *)(x + depth), (int8_t *)(x + depth) + depth};
    int whole = 1;
    struct qdsl_tile tile = qdsl_tile_of(x, depth, p->zero, p->low, p->high);
    for (int32_t i = 0; i < p->reach; i++)
        whole &= rows[i] != NULL;
    x[depth - 2] = x[depth - 1] = 0;
    for (int32_t column = 0; column < p->out_width; column += 2) {
        int32_t two = column + 1 < p->out_width, at[2];
        at[0] = column * p->stride - p->left;
        at[1] = at[0] + two * p->stride;
        for (int32_t group = 0; group < p->groups; group++) {
            int in[2] = {qdsl_inside(p, at[0], whole), qdsl_inside(p, at[1], whole)};
            uint32_t *to = x;
            uint32_t *rest = x + (length & ~3) * (total / length);
            for (int32_t pixel = 0; pixel < 2; pixel++)
                if (!in[pixel])
                    qdsl_copy_window(p, rows, at[pixel], group * channels, copies[pixel]);
            for (int32_t i = 0, odd = 0; i < p->reach; i++)
                for (int32_t j = 0; j < across; j++) {
                    const int8_t *from[2];
                    for (int32_t pixel = 0; pixel < 2; pixel++)
                        from[pixel] = in[pixel] ? rows[i] + at[pixel] * p->channels + group * channels + j * apart
                                                : copies[pixel] + (i * across + j) * length;
                    to = qdsl_spread(to, from[0], from[1], length);
                    for (int32_t k = length - ends; k < length; k++, odd++) {
                        int8_t *pair = (int8_t *)(rest + (odd & ~1)) + 2 * (odd & 1);
                        qdsl_put_half(pair, from[0][k]);
                        qdsl_put_half(pair + 4, from[1][k]);
                    }
                }
            tile.weights = (const int8_t *)p->weights + group * p->group_bytes;
            tile.bias = p->bias + group * ((p->out_channels + 3) & ~3);
            tile.scale = (const int8_t *)p->scale + group * ((p->out_channels + 3) & ~3) * p->scale_bytes;
            qdsl_set_outputs(&tile, out + group * p->out_channels, out + group * p->out_channels + two * next,
                             p->out_channels);
            product(&tile);
        }
        out += 2 * next;
    }
}

#define QDSL_CONV(name, product)                                                                                       \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        qdsl_conv(parameters, (const int8_t *const *)rows, out, scratch, product);                                     \
    }
QDSL_CONV(qdsl_conv_words, qdsl_words)
QDSL_CONV(qdsl_conv_bytes, qdsl_bytes)
QDSL_CONV(qdsl_conv_words_wide, qdsl_words_wide)
QDSL_CONV(qdsl_conv_bytes_wide, qdsl_bytes_wide)
QDSL_CONV(qdsl_conv_words_fixed, qdsl_words_fixed)
QDSL_CONV(qdsl_conv_bytes_fixed, qdsl_bytes_fixed)
