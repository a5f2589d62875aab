/* Along the last axis: `exps`[255 - d] is the power of e of what lies d below the largest; steps are the share of the sum,
   by `steps_of_one`, the whole steps of the output in 1. at: input, output. */
struct qdsl_softmax_parameters {
    const float *exps;
    int32_t outer;
    int32_t length;
    float steps_of_one;
    int32_t zero;
};

static QDSL_APART void qdsl_softmax(const void *parameters, void *const *at)
{
    const struct qdsl_softmax_parameters *p = parameters;
    const int8_t *in = at[0];
    int8_t *out = at[1];
    for (int32_t row = 0; row < p->outer; row++, in += p->length, out += p->length) {
        int32_t most = -128;
        float sum = 0.0f;
        for (int32_t i = 0; i < p->length; i++)
            most = in[i] > most ? in[i] : most;
        const float *exps = p->exps + 255 - most;
        for (int32_t i = 0; i < p->length; i++)
            sum += exps[in[i]];
        for (int32_t i = 0; i < p->length; i++)
            out[i] = qdsl_quantized(exps[in[i]] / sum * p->steps_of_one, p->zero, -128, 127);
    }
}
