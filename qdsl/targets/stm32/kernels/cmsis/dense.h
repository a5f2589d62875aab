/* Vectors by a matrix, one multiplier for all outputs: weights [out_channels, channels]. */
struct qdsl_cmsis_dense_parameters {
    const int8_t *weights;
    const int32_t *bias;
    int32_t multiplier;
    int32_t shift;
    int32_t vectors;
    int32_t channels;
    int32_t out_channels;
    int32_t x_zero;
    int32_t zero;
    int32_t low;
    int32_t high;
};

QDSL_INLINE cmsis_nn_dims qdsl_cmsis_matrix(const struct qdsl_cmsis_dense_parameters *p)
{
    return (cmsis_nn_dims){.n = p->channels, .h = 1, .w = 1, .c = p->out_channels};
}

static QDSL_APART int32_t qdsl_cmsis_dense_bytes(const void *parameters)
{
    cmsis_nn_dims w = qdsl_cmsis_matrix(parameters);
    return arm_fully_connected_s8_get_buffer_size(&w);
}

static QDSL_APART void qdsl_cmsis_dense(const void *parameters, void *const *at)
{
    const struct qdsl_cmsis_dense_parameters *p = parameters;
    cmsis_nn_context context = {.buf = NULL, .size = 0};
    cmsis_nn_fc_params dense = {
        .input_offset = -p->x_zero,
        .filter_offset = 0,
        .output_offset = p->zero,
        .activation = {.min = p->low, .max = p->high},
    };
    cmsis_nn_per_tensor_quant_params scale = {.multiplier = p->multiplier, .shift = p->shift};
    cmsis_nn_dims x = {.n = p->vectors, .h = 1, .w = 1, .c = p->channels}, w = qdsl_cmsis_matrix(p);
    cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = p->out_channels};
    cmsis_nn_dims y = {.n = p->vectors, .h = 1, .w = 1, .c = p->out_channels};
    qdsl_cmsis_done(arm_fully_connected_s8(&context, &dense, &scale, &x, at[0], &w, p->weights, &bias, p->bias, &y, at[1]));
}
