/* Two rows element by element, which may broadcast: a[x * a_outer + c * a_inner] with b[x * b_outer + c * b_inner] for x
   below `outer`, c below `inner`. How the values are combined is the kernel's; rows: a, b. */
struct qdsl_binary_parameters {
    int32_t outer;
    int32_t inner;
    int32_t a_outer;
    int32_t a_inner;
    int32_t b_outer;
    int32_t b_inner;
    int32_t a_zero;
    int32_t b_zero;
    int32_t out_zero;
    float a_scale;
    float b_scale;
    float out_scale;
    float constant;
    int32_t low;
    int32_t high;
};

typedef int8_t qdsl_combine(const struct qdsl_binary_parameters *p, int32_t a, int32_t b);

QDSL_INLINE void qdsl_binary(const struct qdsl_binary_parameters *parameters, const void *const *rows, int8_t *out,
                           qdsl_combine *combine)
{
    /* A copy of the parameters, which no byte that is written can be a part of, stays in registers. */
    const struct qdsl_binary_parameters own = *parameters, *p = &own;
    for (int32_t x = 0; x < p->outer; x++) {
        const int8_t *a = (const int8_t *)rows[0] + x * p->a_outer, *b = (const int8_t *)rows[1] + x * p->b_outer;
        for (int32_t c = 0; c < p->inner; c++, a += p->a_inner, b += p->b_inner)
            *out++ = combine(p, *a, *b);
    }
}
