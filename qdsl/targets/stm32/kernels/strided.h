/* Pieces of `size` bytes along up to six axes, outermost first: to + sum i * out_steps becomes what lies at from + sum
   i * in_steps, with i from 0 to extents - 1. All of them count bytes. Where `fill` is not NULL, `fills` times the
   `fill_size` bytes of it fill the output first. at: input, output. Transposes, slices and pads are that. */
#define QDSL_AXES 6
struct qdsl_strided_parameters {
    const int32_t *extents;
    const int32_t *in_steps;
    const int32_t *out_steps;
    const uint8_t *fill;
    int32_t fill_size;
    int32_t fills;
    int32_t size;
    int32_t from;
    int32_t to;
};

static QDSL_APART void qdsl_pieces(const struct qdsl_strided_parameters *p, const uint8_t *in, uint8_t *out)
{
    int32_t size = p->size, count = p->extents[QDSL_AXES - 1];
    int32_t in_step = p->in_steps[QDSL_AXES - 1], out_step = p->out_steps[QDSL_AXES - 1];
    if (size == 1)
        for (; count > 0; count--, in += in_step, out += out_step)
            *out = *in;
    else
        for (; count > 0; count--, in += in_step, out += out_step)
            memcpy(out, in, (size_t)size);
}

static QDSL_APART void qdsl_strided(const void *parameters, void *const *at)
{
    const struct qdsl_strided_parameters *p = parameters;
    int32_t index[QDSL_AXES - 1] = {0, 0, 0, 0, 0};
    const uint8_t *in = (const uint8_t *)at[0] + p->from;
    uint8_t *out = at[1];
    if (p->fill != NULL)
        for (int32_t i = 0, byte = 0; i < p->fills * p->fill_size; i++) {
            out[i] = p->fill[byte];
            byte = byte + 1 == p->fill_size ? 0 : byte + 1;
        }
    out += p->to;
    for (;;) {
        qdsl_pieces(p, in, out);
        int32_t axis = QDSL_AXES - 2;
        for (; axis >= 0; axis--) {
            in += p->in_steps[axis];
            out += p->out_steps[axis];
            if (++index[axis] < p->extents[axis])
                break;
            in -= p->in_steps[axis] * p->extents[axis];
            out -= p->out_steps[axis] * p->extents[axis];
            index[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}
