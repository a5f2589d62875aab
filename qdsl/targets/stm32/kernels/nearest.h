/* From float32 to integers: the nearest, halves to even, and what float32 adds and multiplies rounded once. */
QDSL_INLINE int32_t qdsl_clip(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    return value > high ? high : value;
}

/* Exact up to 2^22; further values give something beyond +-2^22, or the nearest. Not a number gives any. */
QDSL_INLINE int32_t qdsl_nearest(float value)
{
#if QDSL_FPU
    float bits;
    int32_t out;
    __asm__("vcvtr.s32.f32 %0, %1" : "=t"(bits) : "t"(value));
    __asm__("vmov %0, %1" : "=r"(out) : "t"(bits));
    return out;
#else
    const float most = 4194304.0f, magic = 12582912.0f;
    value = value < -most ? -most : value;
    value = value > most ? most : value;
    value += magic;
    value -= magic;
    return (int32_t)value;
#endif
}

/* a * b + c, rounded once, where float64 holds the sum exactly. */
QDSL_INLINE float qdsl_fused(float a, float b, float c)
{
#if QDSL_FPU && defined(__ARM_FEATURE_FMA)
    __asm__("vfma.f32 %0, %1, %2" : "+t"(c) : "t"(a), "t"(b));
    return c;
#else
    return (float)((double)a * (double)b + (double)c);
#endif
}

/* Steps of the output, its zero point in them, to int8. */
QDSL_INLINE int8_t qdsl_code_of(float steps, int32_t low, int32_t high)
{
    return (int8_t)qdsl_clip(qdsl_nearest(steps), low, high);
}

/* QuantizeLinear of what was divided by the scale already: the zero point after the rounding; not a number is the least. */
QDSL_INLINE int8_t qdsl_quantized(float steps, int32_t zero, int32_t low, int32_t high)
{
    if (steps != steps)
        return (int8_t)low;
    return (int8_t)(qdsl_clip(qdsl_nearest(steps), low - zero, high - zero) + zero);
}
