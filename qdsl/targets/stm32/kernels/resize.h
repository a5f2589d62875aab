/* Nearest: output row y copies input row `rows`[y], its column x column `columns`[x] of `pixel` bytes; `row` is what a
   row of the input takes. at: input, output. */
struct qdsl_resize_parameters {
    const int32_t *rows;
    const int32_t *columns;
    int32_t height;
    int32_t width;
    int32_t pixel;
    int32_t row;
};

static QDSL_APART void qdsl_resize(const void *parameters, void *const *at)
{
    const struct qdsl_resize_parameters *p = parameters;
    uint8_t *out = at[1];
    for (int32_t y = 0; y < p->height; y++) {
        const uint8_t *row = (const uint8_t *)at[0] + p->rows[y] * p->row;
        for (int32_t x = 0; x < p->width; x++) {
            const uint8_t *in = row + p->columns[x] * p->pixel;
            memcpy(out, in, (size_t)p->pixel);
            out += p->pixel;
        }
    }
}
