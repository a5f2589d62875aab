/* Powers and logarithms of e in float32, without a C library. */

/* n is -252 to 254. */
QDSL_INLINE float qdsl_two_to(int32_t n)
{
    int32_t half = n >> 1;
    uint32_t first = (uint32_t)(half + 127) << 23, second = (uint32_t)(n - half + 127) << 23;
    float a, b;
    memcpy(&a, &first, sizeof a);
    memcpy(&b, &second, sizeof b);
    return a * b;
}

/* (e^x - 1) / x for x from -0.35 to 0.35, by its series. */
QDSL_INLINE float qdsl_exp_series(float x)
{
    float sum = 1.98412698e-4f;
    sum = sum * x + 1.38888889e-3f;
    sum = sum * x + 8.33333333e-3f;
    sum = sum * x + 4.16666667e-2f;
    sum = sum * x + 1.66666667e-1f;
    sum = sum * x + 0.5f;
    return sum * x + 1.0f;
}

static QDSL_APART float qdsl_exp(float x)
{
    float whole, rest, power;
    if (x != x)
        return x;
    x = x > 89.0f ? 89.0f : x < -105.0f ? -105.0f : x;
    whole = x * 1.44269504f + 12582912.0f;
    whole -= 12582912.0f;
    rest = x - whole * 0.693359375f; /* exact: nine bits by at most eight */
    rest += whole * 2.12194440e-4f;
    power = rest * qdsl_exp_series(rest) + 1.0f;
    if (whole < -126.0f)
        return power * 5.42101086e-20f * qdsl_two_to((int32_t)whole + 64);
    return power * 2.0f * qdsl_two_to((int32_t)whole - 1);
}

/* e^x - 1 */
static QDSL_APART float qdsl_exp_less(float x)
{
    return x > -0.35f && x < 0.35f ? x * qdsl_exp_series(x) : qdsl_exp(x) - 1.0f;
}

/* 2 * artanh(x) for x from -1/3 to 1/3, by its series. */
QDSL_INLINE float qdsl_log_series(float x)
{
    float square = x * x, sum = 1.0f / 15.0f;
    sum = sum * square + 1.0f / 13.0f;
    sum = sum * square + 1.0f / 11.0f;
    sum = sum * square + 1.0f / 9.0f;
    sum = sum * square + 1.0f / 7.0f;
    sum = sum * square + 1.0f / 5.0f;
    sum = sum * square + 1.0f / 3.0f;
    return 2.0f * x * (sum * square + 1.0f);
}

/* The logarithm of 1 + x, x from 0 to 1. */
QDSL_INLINE float qdsl_log_more(float x)
{
    return qdsl_log_series(x / (2.0f + x));
}

static QDSL_APART float qdsl_log(float x)
{
    float power = 0.0f;
    uint32_t bits;
    if (x < 0.0f)
        return NAN;
    if (x == 0.0f)
        return -INFINITY;
    if (x != x || x > 3.4028234e38f)
        return x;
    if (x < 1.17549435e-38f) {
        x *= 8388608.0f;
        power = -23.0f;
    }
    memcpy(&bits, &x, sizeof bits);
    power += (float)((int32_t)(bits >> 23) - 127);
    bits = (bits & 0x7fffffu) | 0x3f800000u;
    memcpy(&x, &bits, sizeof x);
    if (x > 1.41421356f) {
        x *= 0.5f;
        power += 1.0f;
    }
    return power * 0.693359375f + (qdsl_log_series((x - 1.0f) / (x + 1.0f)) - power * 2.12194440e-4f);
}
