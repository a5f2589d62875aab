/* SPDX-License-Identifier: Apache-2.0 */
/* What every kernel uses: words of four int8, products of pairs, rounding.

   Little-endian. Where the core has the DSP extension its instructions are written out, everywhere else plain C of the
   same meaning computes the same from the same constants; QDSL_PLAIN asks for the plain C anywhere. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights.h is laid out for a little-endian core"
#endif
#ifdef __FAST_MATH__
#error "-ffast-math rounds otherwise than the reference: take it out, and keep the flags of the Makefile"
#endif

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(QDSL_PLAIN)
#define QDSL_DSP 1
#else
#define QDSL_DSP 0
#endif

#if defined(__ARM_FP) && (__ARM_FP & 4) && defined(__thumb2__) && !defined(QDSL_PLAIN)
#define QDSL_FPU 1
#else
#define QDSL_FPU 0
#endif

/* Functions marked so are compiled on their own whatever calls them, so that their size is known beforehand. */
#if defined(__GNUC__) && !defined(__clang__)
#define QDSL_ALONE noipa, unused
#else
#define QDSL_ALONE noinline, unused
#endif
#define QDSL_APART __attribute__((QDSL_ALONE))
/* Functions of instructions alone, of whose registers the compiler may know nothing; what they are given they read. */
#define QDSL_NAKED __attribute__((naked, QDSL_ALONE))
#define QDSL_UNREAD __attribute__((unused))
#define QDSL_UNROLLED _Pragma("GCC unroll 8") /* where the count is a constant */
#define QDSL_INLINE static inline __attribute__((always_inline, unused))

QDSL_INLINE uint32_t qdsl_word(const void *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

QDSL_INLINE void qdsl_put_word(void *at, uint32_t word)
{
    memcpy(at, &word, sizeof word);
}

QDSL_INLINE int32_t qdsl_half(const void *at)
{
    int16_t half;
    memcpy(&half, at, sizeof half);
    return half;
}

QDSL_INLINE void qdsl_put_half(void *at, int32_t half)
{
    int16_t stored = (int16_t)half;
    memcpy(at, &stored, sizeof stored);
}

/* Two int16 of one word. */
QDSL_INLINE int32_t qdsl_low(uint32_t pair)
{
    return (int16_t)(uint16_t)pair;
}

QDSL_INLINE int32_t qdsl_high(uint32_t pair)
{
    return (int16_t)(uint16_t)(pair >> 16);
}

QDSL_INLINE uint32_t qdsl_pair_of(int32_t low, int32_t high)
{
    return (uint32_t)(uint16_t)low | (uint32_t)(uint16_t)high << 16;
}

/* int8 number 0 and 2 of a word as two int16. */
QDSL_INLINE uint32_t qdsl_even(uint32_t word)
{
#if QDSL_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
    return pair;
#else
    return qdsl_pair_of((int8_t)(uint8_t)word, (int8_t)(uint8_t)(word >> 16));
#endif
}

/* int8 number 1 and 3 of a word as two int16. */
QDSL_INLINE uint32_t qdsl_odd(uint32_t word)
{
#if QDSL_DSP
    uint32_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
    return pair;
#else
    return qdsl_pair_of((int8_t)(uint8_t)(word >> 8), (int8_t)(uint8_t)(word >> 24));
#endif
}

/* The lower halves of two words, and the upper halves. */
QDSL_INLINE uint32_t qdsl_lows(uint32_t a, uint32_t b)
{
#if QDSL_DSP
    uint32_t word;
    __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(word) : "r"(a), "r"(b));
    return word;
#else
    return (a & 0xffffu) | b << 16;
#endif
}

QDSL_INLINE uint32_t qdsl_highs(uint32_t a, uint32_t b)
{
#if QDSL_DSP
    uint32_t word;
    __asm__("pkhtb %0, %2, %1, asr #16" : "=r"(word) : "r"(a), "r"(b));
    return word;
#else
    return a >> 16 | (b & 0xffff0000u);
#endif
}

/* sum + low(a) * low(b) + high(a) * high(b); sums wrap. */
QDSL_INLINE int32_t qdsl_smlad(uint32_t a, uint32_t b, int32_t sum)
{
#if QDSL_DSP
    int32_t result;
    __asm__("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
#else
    return (int32_t)((uint32_t)sum + (uint32_t)(qdsl_low(a) * qdsl_low(b)) + (uint32_t)(qdsl_high(a) * qdsl_high(b)));
#endif
}

/* What becomes of sums: times a scale of their channel, rounded, plus `zero`, within `low` and `high`. */
struct qdsl_codes {
    int32_t zero;
    int32_t low;
    int32_t high;
};

QDSL_INLINE int32_t qdsl_clipped_code(int32_t whole, const struct qdsl_codes *codes)
{
    int32_t low = codes->low - codes->zero, high = codes->high - codes->zero;
    whole = whole < low ? low : whole;
    whole = whole > high ? high : whole;
    return whole + codes->zero;
}

/* In float32, ties to even. */
QDSL_INLINE int32_t qdsl_code(int32_t sum, float scale, const struct qdsl_codes *codes)
{
    float value = (float)sum * scale;
    int32_t whole;
#if QDSL_FPU
    __asm__("vcvtr.s32.f32 %0, %0\n\tvmov %1, %0" : "+t"(value), "=r"(whole));
#else
    memcpy(&whole, &value, sizeof whole);
    if ((whole & 0x7fffffff) >= 0x46000000) /* 8192 and more is clipped */
        return whole < 0 ? codes->low : codes->high;
    value += 12582912.0f; /* 1.5 * 2^23: what follows the binary point falls off, as addition rounds */
    memcpy(&whole, &value, sizeof whole);
    whole -= 0x4b400000;
#endif
    return qdsl_clipped_code(whole, codes);
}

/* In fixed point: `scale` is a multiplier in 1/2^31, then an exponent of 2. The product is rounded with ties upwards,
   what is shifted to the right with ties away from zero. */
QDSL_INLINE int32_t qdsl_fixed_code(int32_t sum, const int32_t *scale, const struct qdsl_codes *codes)
{
    int32_t left = scale[1] > 0 ? scale[1] : 0, right = scale[1] > 0 ? 0 : -scale[1];
    int32_t raised = (int32_t)((uint32_t)sum << left);
    int32_t value = (int32_t)(((int64_t)raised * scale[0] + (INT64_C(1) << 30)) >> 31);
    int32_t mask = (int32_t)((UINT32_C(1) << right) - 1u);
    int32_t up = (value & mask) > (mask >> 1) + (value < 0);
    return qdsl_clipped_code((value >> right) + up, codes);
}
