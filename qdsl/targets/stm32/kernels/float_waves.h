/* Sine and cosine. Within 8192 as exact as float32 is, less further out; from 2^17 on, where float32 has 100 places on a
   wave, not a number. */
QDSL_INLINE float qdsl_wave(float x, int32_t quarter)
{
    float whole, rest, square, value;
    if (!(x > -131072.0f && x < 131072.0f))
        return NAN;
    whole = (x * 0.636619772f + 12582912.0f) - 12582912.0f;
    /* pi / 2 in three parts, whose products with whole numbers are exact */
    rest = ((x - whole * 1.5703125f) - whole * 4.83751297e-4f) - whole * 7.54978995e-8f;
    square = rest * rest;
    quarter = ((int32_t)whole + quarter) & 3;
    if (quarter & 1) {
        value = 2.48015873e-5f;
        value = value * square - 1.38888889e-3f;
        value = value * square + 4.16666667e-2f;
        value = value * square - 0.5f;
        value = value * square + 1.0f;
    } else {
        value = 2.75573192e-6f;
        value = value * square - 1.98412698e-4f;
        value = value * square + 8.33333333e-3f;
        value = value * square - 1.66666667e-1f;
        value = value * square * rest + rest;
    }
    return quarter & 2 ? -value : value;
}

QDSL_INLINE float qdsl_sine(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_wave(x, 0);
}

QDSL_INLINE float qdsl_cosine(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_wave(x, 1);
}

QDSL_UNARY(qdsl_unary_sin, qdsl_sine)
QDSL_UNARY(qdsl_unary_cos, qdsl_cosine)
