/* Functions that are lines, steps and roots. */
#define QDSL_IDENTITY(x, a, b) ((void)(a), (void)(b), (x))
#define QDSL_NEGATED(x, a, b) (-(x))
#define QDSL_INVERSE(x, a, b) (1.0f / (x))

QDSL_INLINE float qdsl_size(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0x7fffffffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

QDSL_INLINE float qdsl_absolute(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_size(x);
}

QDSL_INLINE float qdsl_sign(float x, float a, float b)
{
    (void)a, (void)b;
    return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : x;
}

/* Whole numbers; from 2^23 on every float32 is one. */
QDSL_INLINE float qdsl_floor(float x, float a, float b)
{
    float whole;
    (void)a, (void)b;
    if (!(qdsl_size(x) < 8388608.0f))
        return x;
    whole = (float)(int32_t)x;
    return whole > x ? whole - 1.0f : whole;
}

QDSL_INLINE float qdsl_ceil(float x, float a, float b)
{
    return -qdsl_floor(-x, a, b);
}

QDSL_INLINE float qdsl_round(float x, float a, float b)
{
    (void)a, (void)b;
    if (!(qdsl_size(x) < 8388608.0f))
        return x;
    return x < 0.0f ? (x - 8388608.0f) + 8388608.0f : (x + 8388608.0f) - 8388608.0f;
}

QDSL_INLINE float qdsl_root(float x, float a, float b)
{
    (void)a, (void)b;
#if QDSL_FPU
    float root;
    __asm__("vsqrt.f32 %0, %1" : "=t"(root) : "t"(x));
    return root;
#else
    uint32_t bits;
    float scale = 1.0f, guess;
    double root;
    if (x < 0.0f)
        return NAN;
    if (x == 0.0f || x != x || x > 3.4028234e38f)
        return x;
    if (x < 1.0e-30f) {
        x *= 1.84467441e19f; /* 2^64 */
        scale = 2.32830644e-10f;
    }
    memcpy(&bits, &x, sizeof bits);
    bits = (bits >> 1) + 0x1fc00000u;
    memcpy(&guess, &bits, sizeof guess);
    root = (double)guess;
    for (int32_t i = 0; i < 4; i++)
        root = 0.5 * (root + (double)x / root);
    return (float)root * scale;
#endif
}

QDSL_INLINE float qdsl_relu(float x, float a, float b)
{
    (void)a, (void)b;
    return x < 0.0f ? 0.0f : x;
}

QDSL_INLINE float qdsl_leaky(float x, float a, float b)
{
    (void)b;
    return x >= 0.0f ? x : a * x;
}

QDSL_INLINE float qdsl_above(float x, float a, float b)
{
    (void)b;
    return x > a ? x : 0.0f;
}

QDSL_INLINE float qdsl_hard(float x, float a, float b)
{
    return qdsl_within(x * a + b, 0.0f, 1.0f);
}

QDSL_INLINE float qdsl_hard_swish(float x, float a, float b)
{
    return x * qdsl_hard(x, a, b);
}

QDSL_INLINE float qdsl_softsign(float x, float a, float b)
{
    (void)a, (void)b;
    return x / (1.0f + qdsl_size(x));
}

QDSL_UNARY(qdsl_unary_identity, QDSL_IDENTITY)
QDSL_UNARY(qdsl_unary_neg, QDSL_NEGATED)
QDSL_UNARY(qdsl_unary_reciprocal, QDSL_INVERSE)
QDSL_UNARY(qdsl_unary_abs, qdsl_absolute)
QDSL_UNARY(qdsl_unary_sign, qdsl_sign)
QDSL_UNARY(qdsl_unary_floor, qdsl_floor)
QDSL_UNARY(qdsl_unary_ceil, qdsl_ceil)
QDSL_UNARY(qdsl_unary_round, qdsl_round)
QDSL_UNARY(qdsl_unary_sqrt, qdsl_root)
QDSL_UNARY(qdsl_unary_relu, qdsl_relu)
QDSL_UNARY(qdsl_unary_clip, qdsl_within)
QDSL_UNARY(qdsl_unary_leakyrelu, qdsl_leaky)
QDSL_UNARY(qdsl_unary_thresholdedrelu, qdsl_above)
QDSL_UNARY(qdsl_unary_hardsigmoid, qdsl_hard)
QDSL_UNARY(qdsl_unary_hardswish, qdsl_hard_swish)
QDSL_UNARY(qdsl_unary_softsign, qdsl_softsign)
