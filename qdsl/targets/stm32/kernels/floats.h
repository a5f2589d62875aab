/* float32: products that are added, and bounds. */
#include <math.h>

/* FPv5 has instructions for the larger and the smaller of two; a Cortex-M whose FPU has double, or of Armv8-M, has FPv5. */
#if QDSL_FPU && (__ARM_FP & 8 || __ARM_ARCH >= 8)
#define QDSL_FPV5 1
#else
#define QDSL_FPV5 0
#endif

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
#if QDSL_FPV5
    float larger;
    __asm__("vmaxnm.f32 %0, %1, %2" : "=t"(larger) : "t"(a), "t"(b));
    return larger;
#else
    return a > b ? a : b;
#endif
}

QDSL_INLINE float qdsl_smaller(float a, float b)
{
#if QDSL_FPV5
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

/* A whole number in memory, straight to the FPU where there is one. */
QDSL_INLINE float qdsl_float_of(const int32_t *at)
{
#if QDSL_FPU
    float value;
    __asm__("vldr %0, %1\n\tvcvt.f32.s32 %0, %0" : "=t"(value) : "Uv"(*at));
    return value;
#else
    return (float)*at;
#endif
}
