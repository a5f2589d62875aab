/* A convolution: weights [out_channels, rows, columns, channels], channel by channel [rows, columns, channels]. `bytes` is
   the scratch that is there. */
struct qdsl_cmsis_window_parameters {
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int32_t *shift;
    int32_t height;
    int32_t width;
    int32_t channels;
    int32_t out_height;
    int32_t out_width;
    int32_t out_channels;
    int32_t rows;
    int32_t columns;
    int32_t stride_down;
    int32_t stride_right;
    int32_t dilation_down;
    int32_t dilation_right;
    int32_t above;
    int32_t left;
    int32_t x_zero;
    int32_t zero;
    int32_t low;
    int32_t high;
    int32_t bytes;
};

QDSL_INLINE cmsis_nn_dims qdsl_cmsis_input(const struct qdsl_cmsis_window_parameters *p)
{
    return (cmsis_nn_dims){.n = 1, .h = p->height, .w = p->width, .c = p->channels};
}

QDSL_INLINE cmsis_nn_dims qdsl_cmsis_output(const struct qdsl_cmsis_window_parameters *p)
{
    return (cmsis_nn_dims){.n = 1, .h = p->out_height, .w = p->out_width, .c = p->out_channels};
}

QDSL_INLINE cmsis_nn_dims qdsl_cmsis_filter(const struct qdsl_cmsis_window_parameters *p, int32_t first)
{
    return (cmsis_nn_dims){.n = first, .h = p->rows, .w = p->columns, .c = p->channels};
}

/* It only reads what it takes as addresses of what could be written. */
QDSL_INLINE cmsis_nn_per_channel_quant_params qdsl_cmsis_scales(const struct qdsl_cmsis_window_parameters *p)
{
    return (cmsis_nn_per_channel_quant_params){.multiplier = (int32_t *)p->multiplier, .shift = (int32_t *)p->shift};
}
