/* Functions made of powers and logarithms of e. */
QDSL_INLINE float qdsl_exp_of(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_exp(x);
}

QDSL_INLINE float qdsl_log_of(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_log(x);
}

QDSL_INLINE float qdsl_softplus(float x, float a, float b)
{
    (void)a, (void)b;
    return x > 0.0f ? x + qdsl_log_more(qdsl_exp(-x)) : qdsl_log_more(qdsl_exp(x));
}

/* x * tanh(log(1 + e^x)) */
QDSL_INLINE float qdsl_mish(float x, float a, float b)
{
    float power = qdsl_exp(x), square = power * (power + 2.0f);
    (void)a, (void)b;
    return x > 15.0f ? x : x * (square / (square + 2.0f));
}

QDSL_INLINE float qdsl_elu(float x, float a, float b)
{
    (void)b;
    return x >= 0.0f ? x : a * qdsl_exp_less(x);
}

QDSL_INLINE float qdsl_selu(float x, float a, float b)
{
    return b * (x > 0.0f ? x : a * qdsl_exp_less(x));
}

QDSL_INLINE float qdsl_celu(float x, float a, float b)
{
    float below = a * qdsl_exp_less((x < 0.0f ? x : 0.0f) / a);
    (void)b;
    return (x < 0.0f ? 0.0f : x) + (below < 0.0f ? below : 0.0f);
}

QDSL_UNARY(qdsl_unary_exp, qdsl_exp_of)
QDSL_UNARY(qdsl_unary_log, qdsl_log_of)
QDSL_UNARY(qdsl_unary_softplus, qdsl_softplus)
QDSL_UNARY(qdsl_unary_mish, qdsl_mish)
QDSL_UNARY(qdsl_unary_elu, qdsl_elu)
QDSL_UNARY(qdsl_unary_selu, qdsl_selu)
QDSL_UNARY(qdsl_unary_celu, qdsl_celu)
