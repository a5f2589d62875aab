/* Two rows of float32 element by element, which may broadcast: a[x * a_outer + c * a_inner] with b[x * b_outer + c * b_inner]
   for x below `outer`, c below `inner`. rows: a, b. */
struct qdsl_float_binary_parameters {
    int32_t outer;
    int32_t inner;
    int32_t a_outer;
    int32_t a_inner;
    int32_t b_outer;
    int32_t b_inner;
    float low;
    float high;
};

#define QDSL_FLOAT_BINARY(name, operation)                                                                             \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        const struct qdsl_float_binary_parameters *p = parameters;                                                     \
        float *to = out;                                                                                               \
        (void)scratch;                                                                                                 \
        for (int32_t x = 0; x < p->outer; x++) {                                                                       \
            const float *a = (const float *)rows[0] + x * p->a_outer, *b = (const float *)rows[1] + x * p->b_outer;    \
            for (int32_t c = 0; c < p->inner; c++, a += p->a_inner, b += p->b_inner)                                   \
                *to++ = qdsl_within(*a operation *b, p->low, p->high);                                                 \
        }                                                                                                              \
    }
QDSL_FLOAT_BINARY(qdsl_float_add, +)
QDSL_FLOAT_BINARY(qdsl_float_sub, -)
QDSL_FLOAT_BINARY(qdsl_float_mul, *)
QDSL_FLOAT_BINARY(qdsl_float_div, /)
