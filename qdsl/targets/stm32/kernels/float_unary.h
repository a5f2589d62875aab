/* A function of each float32 of a row, with two numbers `a` and `b` that are its own. Row kernels. */
struct qdsl_unary_parameters {
    int32_t count;
    float a;
    float b;
};

#define QDSL_UNARY(name, function)                                                                                     \
    static QDSL_APART void name(const void *parameters, const void *const *rows, void *out, void *scratch)             \
    {                                                                                                                  \
        const struct qdsl_unary_parameters *p = parameters;                                                            \
        const float *in = rows[0];                                                                                     \
        float *to = out;                                                                                               \
        (void)scratch;                                                                                                 \
        for (int32_t i = 0; i < p->count; i++)                                                                         \
            to[i] = function(in[i], p->a, p->b);                                                                       \
    }
