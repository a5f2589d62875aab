/* In fixed point: sum * multiplier / 2^31 * 2^shift. The product is rounded with ties upwards, what is shifted to the
   right with ties away from zero. */
QDSL_INLINE int32_t qdsl_fixed(int32_t sum, int32_t multiplier, int32_t shift)
{
    int32_t right = shift < 0 ? -shift : 0;
    int32_t raised = (int32_t)((uint32_t)sum << (shift > 0 ? shift : 0));
    int32_t value = (int32_t)(((int64_t)raised * multiplier + (INT64_C(1) << 30)) >> 31);
    int32_t mask = (int32_t)((UINT32_C(1) << right) - 1u);
    return (value >> right) + ((value & mask) > (mask >> 1) + (value < 0));
}

QDSL_INLINE int8_t qdsl_fixed_within(int32_t value, int32_t low, int32_t high)
{
    value = value < low ? low : value;
    return (int8_t)(value > high ? high : value);
}
