#include "arm_nnfunctions.h"

/* A division by 2^31 that rounds halves upwards, then one by 2^right that rounds them away from zero; or a single one. */
static int32_t scaled(int32_t sum, int32_t multiplier, int32_t shift)
{
    int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
    int64_t product = (int64_t)sum * multiplier;
    return (int32_t)((product + ((int64_t)1 << (30 - shift))) >> (31 - shift));
#else
    int64_t high = ((int64_t)(int32_t)((uint32_t)sum << left) * multiplier + (1 << 30)) >> 31;
    int64_t half = right > 0 ? (int64_t)1 << (right - 1) : 0;
    return (int32_t)(high < 0 ? -((-high + half) >> right) : (high + half) >> right);
#endif
}

int8_t stand_in_code(int32_t sum, int32_t multiplier, int32_t shift, int32_t offset, cmsis_nn_activation within)
{
    int32_t code = scaled(sum, multiplier, shift) + offset;
    code = code < within.min ? within.min : code;
    return (int8_t)(code > within.max ? within.max : code);
}
