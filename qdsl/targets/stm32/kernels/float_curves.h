/* Sigmoid, tanh, erf and what is made of them: the approximations of ONNX Runtime's MLAS, each step rounded once. */
static QDSL_APART float qdsl_logistic(float x)
{
    float square, upper, lower;
    x = qdsl_within(x, -18.0f, 18.0f);
    square = x * x;
    upper = 4.37031012579801e-11f;
    upper = qdsl_fused(upper, square, 1.15627324459942e-07f);
    upper = qdsl_fused(upper, square, 6.08574864600143e-05f);
    upper = qdsl_fused(upper, square, 8.51377133304701e-03f);
    upper = qdsl_fused(upper, square, 0.248287947061529f);
    lower = 6.10247389755681e-13f;
    lower = qdsl_fused(lower, square, 5.76102136993427e-09f);
    lower = qdsl_fused(lower, square, 6.29106785017040e-06f);
    lower = qdsl_fused(lower, square, 1.70198817374094e-03f);
    lower = qdsl_fused(lower, square, 0.116817656904453f);
    lower = qdsl_fused(lower, square, 0.993151921023180f);
    return qdsl_within(upper * x / lower + 0.5f, 0.0f, 1.0f);
}

static QDSL_APART float qdsl_tanh(float x)
{
    float square, upper, lower;
    x = qdsl_within(x, -9.0f, 9.0f);
    square = x * x;
    upper = -2.76076847742355e-16f;
    upper = qdsl_fused(upper, square, 2.00018790482477e-13f);
    upper = qdsl_fused(upper, square, -8.60467152213735e-11f);
    upper = qdsl_fused(upper, square, 5.12229709037114e-08f);
    upper = qdsl_fused(upper, square, 1.48572235717979e-05f);
    upper = qdsl_fused(upper, square, 6.37261928875436e-04f);
    upper = qdsl_fused(upper, square, 4.89352455891786e-03f);
    lower = 1.19825839466702e-06f;
    lower = qdsl_fused(lower, square, 1.18534705686654e-04f);
    lower = qdsl_fused(lower, square, 2.26843463243900e-03f);
    lower = qdsl_fused(lower, square, 4.89352518554385e-03f);
    return upper * x / lower;
}

/* e^x of erf, x at most 0. */
QDSL_INLINE float qdsl_erf_exp(float x)
{
    float whole = qdsl_fused(x, 1.44269504088896341f, 12582912.0f) - 12582912.0f, rest, power, two;
    uint32_t bits;
    if (!(whole >= -126.0f))
        return x - x; /* less than what 1 tells apart; not a number stays that */
    rest = qdsl_fused(whole, -1.42860677e-6f, qdsl_fused(whole, -6.93145752e-1f, x));
    power = 1.38319808e-3f;
    power = qdsl_fused(power, rest, 8.37550033e-3f);
    power = qdsl_fused(power, rest, 4.16689515e-2f);
    power = qdsl_fused(power, rest, 1.66664466e-1f);
    power = qdsl_fused(power, rest, 4.99999851e-1f);
    power = qdsl_fused(power, rest, 1.0f);
    power = qdsl_fused(power, rest, 1.0f);
    bits = (uint32_t)((int32_t)whole + 127) << 23;
    memcpy(&two, &bits, sizeof two);
    return power * two;
}

static QDSL_APART float qdsl_erf(float x)
{
    float size = x < 0.0f ? -x : x, square, value;
    size = size > 3.725f ? 3.725f : size;
    square = size * size;
    if (size > 0.921875f) {
        value = 1.72948930e-5f;
        value = qdsl_fused(value, size, -3.83208680e-4f);
        value = qdsl_fused(value, size, 3.88393435e-3f);
        value = qdsl_fused(value, size, -2.42545605e-2f);
        value = qdsl_fused(value, size, 1.06777847e-1f);
        value = qdsl_fused(value, size, 6.34846687e-1f);
        value = qdsl_fused(value, size, 1.28717512e-1f);
        value = 1.0f - qdsl_erf_exp(-qdsl_fused(value, size, size));
    } else {
        value = -5.99104969e-4f;
        value = qdsl_fused(value, square, 4.99339588e-3f);
        value = qdsl_fused(value, square, -2.67667342e-2f);
        value = qdsl_fused(value, square, 1.12818025e-1f);
        value = qdsl_fused(value, square, -3.76124859e-1f);
        value = qdsl_fused(value, square, 1.28379151e-1f);
        value = qdsl_fused(value, size, size);
    }
    return x < 0.0f ? -value : value;
}

QDSL_INLINE float qdsl_sigmoid_of(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_logistic(x);
}

QDSL_INLINE float qdsl_tanh_of(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_tanh(x);
}

QDSL_INLINE float qdsl_erf_of(float x, float a, float b)
{
    (void)a, (void)b;
    return qdsl_erf(x);
}

QDSL_INLINE float qdsl_swish(float x, float a, float b)
{
    (void)b;
    return x * qdsl_logistic(a * x);
}

QDSL_INLINE float qdsl_gelu(float x, float a, float b)
{
    (void)a, (void)b;
    return x * 0.5f * (qdsl_erf(x * 0.707106781186547524f) + 1.0f);
}

QDSL_INLINE float qdsl_gelu_tanh(float x, float a, float b)
{
    float inner = x * qdsl_fused(0.044715f * x, x, 1.0f) * 0.797884560802865356f;
    (void)a, (void)b;
    return 0.5f * x * (1.0f + qdsl_tanh(inner));
}

QDSL_UNARY(qdsl_unary_sigmoid, qdsl_sigmoid_of)
QDSL_UNARY(qdsl_unary_tanh, qdsl_tanh_of)
QDSL_UNARY(qdsl_unary_erf, qdsl_erf_of)
QDSL_UNARY(qdsl_unary_swish, qdsl_swish)
QDSL_UNARY(qdsl_unary_gelu, qdsl_gelu)
QDSL_UNARY(qdsl_unary_gelutanh, qdsl_gelu_tanh)
