/* As qdsl_binary, in fixed point: what a and b count from their zero points. */
struct qdsl_binary_fixed_parameters {
    int32_t outer;
    int32_t inner;
    int32_t a_outer;
    int32_t a_inner;
    int32_t b_outer;
    int32_t b_inner;
    int32_t a_zero;
    int32_t b_zero;
    int32_t out_zero;
    int32_t a_multiplier;
    int32_t a_shift;
    int32_t b_multiplier;
    int32_t b_shift;
    int32_t multiplier;
    int32_t shift;
    int32_t low;
    int32_t high;
};

typedef int32_t qdsl_combine_fixed(const struct qdsl_binary_fixed_parameters *p, int32_t a, int32_t b);

QDSL_INLINE void qdsl_binary_fixed(const struct qdsl_binary_fixed_parameters *parameters, const void *const *rows, int8_t *out,
                                   qdsl_combine_fixed *combine)
{
    /* A copy of the parameters, which no byte that is written can be a part of, stays in registers. */
    const struct qdsl_binary_fixed_parameters own = *parameters, *p = &own;
    for (int32_t x = 0; x < p->outer; x++) {
        const int8_t *a = (const int8_t *)rows[0] + x * p->a_outer, *b = (const int8_t *)rows[1] + x * p->b_outer;
        for (int32_t c = 0; c < p->inner; c++, a += p->a_inner, b += p->b_inner) {
            int32_t value = combine(p, *a - p->a_zero, *b - p->b_zero);
            *out++ = qdsl_fixed_within(qdsl_fixed(value, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
        }
    }
}
