/* Elements of `size` bytes along up to six axes, outermost first: out[to + sum i * out_steps] = in[from + sum i * in_steps]
   with i from 0 to extents - 1. Steps, `from`, `to` and `fills` count elements. Where `fill` is not NULL, `fills` elements
   of the output are set to it first. at: input, output. Transposes, slices and pads are that. */
#define QDSL_AXES 6
struct qdsl_strided_parameters {
    const int32_t *extents;
    const int32_t *in_steps;
    const int32_t *out_steps;
    const uint8_t *fill;
    int32_t fills;
    int32_t size;
    int32_t from;
    int32_t to;
};

static QDSL_APART void qdsl_strided(const void *parameters, void *const *at)
{
    const struct qdsl_strided_parameters *p = parameters;
    int32_t size = p->size, inner = p->extents[QDSL_AXES - 1];
    int32_t in_step = p->in_steps[QDSL_AXES - 1] * size, out_step = p->out_steps[QDSL_AXES - 1] * size;
    int32_t index[QDSL_AXES];
    const uint8_t *in = (const uint8_t *)at[0] + p->from * size;
    uint8_t *out = at[1];
    if (p->fill != NULL)
        for (int32_t i = 0, byte = 0; i < p->fills * size; i++) {
            out[i] = p->fill[byte];
            byte = byte + 1 == size ? 0 : byte + 1;
        }
    out += p->to * size;
    for (int32_t axis = 0; axis < QDSL_AXES; axis++)
        index[axis] = 0;
    for (;;) {
        const uint8_t *a = in;
        uint8_t *b = out;
        for (int32_t i = 0; i < inner; i++, a += in_step, b += out_step)
            for (int32_t byte = 0; byte < size; byte++)
                b[byte] = a[byte];
        int32_t axis = QDSL_AXES - 2;
        for (; axis >= 0; axis--) {
            in += p->in_steps[axis] * size;
            out += p->out_steps[axis] * size;
            if (++index[axis] < p->extents[axis])
                break;
            in -= p->in_steps[axis] * p->extents[axis] * size;
            out -= p->out_steps[axis] * p->extents[axis] * size;
            index[axis] = 0;
        }
        if (axis < 0)
            return;
    }
}
