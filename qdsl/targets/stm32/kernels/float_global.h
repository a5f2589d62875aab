/* The average of a whole plane of float32: four sums of every fourth pixel, (0 + 2) + (1 + 3), then the pixels left.
   at: input, output. */
struct qdsl_float_global_parameters {
    int32_t pixels;
    int32_t channels;
    float low;
    float high;
};

static QDSL_APART void qdsl_float_global(const void *parameters, void *const *at)
{
    const struct qdsl_float_global_parameters *p = parameters;
    int32_t fours = p->pixels & ~3;
    float *out = at[1];
    for (int32_t c = 0; c < p->channels; c++) {
        const float *in = (const float *)at[0] + c;
        float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f}, sum;
        for (int32_t i = 0; i < fours; i += 4)
            for (int32_t lane = 0; lane < 4; lane++, in += p->channels)
                sums[lane] += *in;
        sum = (sums[0] + sums[2]) + (sums[1] + sums[3]);
        for (int32_t i = fours; i < p->pixels; i++, in += p->channels)
            sum += *in;
        out[c] = qdsl_within(sum / (float)p->pixels, p->low, p->high);
    }
}
