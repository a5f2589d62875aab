/* float32 to uint8 by the range that the values have: scale and zero point so that 0 to 255 span it and 0. */
QDSL_INLINE void qdsl_range_of(const float *values, int32_t count, float *least, float *most)
{
    float low = *least, high = *most;
    for (const float *end = values + (count & ~1); values != end; values += 2) {
        float first = values[0], second = values[1];
        low = qdsl_smaller(qdsl_smaller(low, first), second);
        high = qdsl_larger(qdsl_larger(high, first), second);
    }
    if (count & 1) {
        low = qdsl_smaller(low, *values);
        high = qdsl_larger(high, *values);
    }
    *least = low;
    *most = high;
}

/* To encoding[0], the scale, and encoding[1], the zero point. */
static QDSL_APART void qdsl_encoding_of(float least, float most, float *encoding)
{
    float steps;
    least = least < 0.0f ? least : 0.0f;
    most = most > 0.0f ? most : 0.0f;
    encoding[0] = most > least ? (most - least) / 255.0f : 1.0f;
    steps = 0.0f - least / encoding[0];
    encoding[1] = (float)qdsl_nearest(qdsl_within(steps, 0.0f, 255.0f));
}

QDSL_INLINE uint8_t qdsl_unsigned_code(float value, float scale, int32_t zero)
{
    int32_t code = qdsl_nearest(value / scale) + zero;
#if defined(__thumb2__) && !defined(QDSL_PLAIN)
    __asm__("usat %0, #8, %0" : "+r"(code));
    return (uint8_t)code;
#else
    return (uint8_t)qdsl_clip(code, 0, 255);
#endif
}

QDSL_INLINE void qdsl_codes_of(const float *values, int32_t count, float scale, int32_t zero, uint8_t *out)
{
    for (const float *end = values + (count & ~1); values != end; values += 2, out += 2) {
        float first = values[0], second = values[1];
        out[0] = qdsl_unsigned_code(first, scale, zero);
        out[1] = qdsl_unsigned_code(second, scale, zero);
    }
    if (count & 1)
        *out = qdsl_unsigned_code(*values, scale, zero);
}

/* The output may lie where the input begins. at: input, output, encoding. */
struct qdsl_dynamic_quantize_parameters {
    int32_t count;
};

static QDSL_APART void qdsl_dynamic_quantize(const void *parameters, void *const *at)
{
    const struct qdsl_dynamic_quantize_parameters *p = parameters;
    const float *in = at[0];
    float *encoding = at[2], least = INFINITY, most = -INFINITY;
    qdsl_range_of(in, p->count, &least, &most);
    qdsl_encoding_of(least, most, encoding);
    qdsl_codes_of(in, p->count, encoding[0], (int32_t)encoding[1], at[1]);
}
