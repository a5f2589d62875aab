/* Sine and cosine, of what lies within 2^30; further out float32 knows no place on the wave. */
QDSL_INLINE float qdsl_wave(float x, int32_t quarter)
{
    double turns = (double)x * 0.636619772367581343;
    int32_t whole;
    float rest, square, value;
    if (!(turns > -1.0e9 && turns < 1.0e9))
        return x - x;
    whole = (int32_t)(turns < 0.0 ? turns - 0.5 : turns + 0.5);
    rest = (float)((double)x - (double)whole * 1.57079632679489662);
    square = rest * rest;
    quarter = (whole + quarter) & 3;
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
