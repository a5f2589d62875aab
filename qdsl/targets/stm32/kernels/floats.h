/* float32: products that are added, and bounds. */
#include <math.h>

/* a * b + c, rounded once where the core has an instruction for that, else twice. */
QDSL_INLINE float qdsl_more(float a, float b, float c)
{
#if QDSL_FPU && defined(__ARM_FEATURE_FMA)
    __asm__("vfma.f32 %0, %1, %2" : "+t"(c) : "t"(a), "t"(b));
    return c;
#else
    return a * b + c;
#endif
}

/* The larger and the smaller of two, of which none is not a number. */
QDSL_INLINE float qdsl_larger(float a, float b)
{
#if QDSL_FPU && defined(__ARM_FEATURE_NUMERIC_MAXMIN)
    float larger;
    __asm__("vmaxnm.f32 %0, %1, %2" : "=t"(larger) : "t"(a), "t"(b));
    return larger;
#else
    return a > b ? a : b;
#endif
}

QDSL_INLINE float qdsl_smaller(float a, float b)
{
#if QDSL_FPU && defined(__ARM_FEATURE_NUMERIC_MAXMIN)
    float smaller;
    __asm__("vminnm.f32 %0, %1, %2" : "=t"(smaller) : "t"(a), "t"(b));
    return smaller;
#else
    return a < b ? a : b;
#endif
}

/* Within bounds; what is not a number stays that. */
QDSL_INLINE float qdsl_within(float value, float low, float high)
{
    value = value < low ? low : value;
    return value > high ? high : value;
}
