/* Along the last axis, of float32. at: input, output. */
struct qdsl_float_softmax_parameters {
    int32_t outer;
    int32_t length;
};

static QDSL_APART void qdsl_float_softmax(const void *parameters, void *const *at)
{
    const struct qdsl_float_softmax_parameters *p = parameters;
    const float *in = at[0];
    float *out = at[1];
    for (int32_t row = 0; row < p->outer; row++, in += p->length, out += p->length) {
        float most = in[0], sum = 0.0f;
        for (int32_t i = 1; i < p->length; i++)
            most = in[i] > most ? in[i] : most;
        for (int32_t i = 0; i < p->length; i++) {
            out[i] = qdsl_exp(in[i] - most);
            sum += out[i];
        }
        for (int32_t i = 0; i < p->length; i++)
            out[i] /= sum;
    }
}
