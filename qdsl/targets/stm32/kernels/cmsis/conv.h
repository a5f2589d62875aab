QDSL_INLINE cmsis_nn_conv_params qdsl_cmsis_conv_params(const struct qdsl_cmsis_window_parameters *p)
{
    return (cmsis_nn_conv_params){
        .input_offset = -p->x_zero,
        .output_offset = p->zero,
        .stride = {.w = p->stride_right, .h = p->stride_down},
        .padding = {.w = p->left, .h = p->above},
        .dilation = {.w = p->dilation_right, .h = p->dilation_down},
        .activation = {.min = p->low, .max = p->high},
    };
}

static QDSL_APART int32_t qdsl_cmsis_conv_bytes(const void *parameters)
{
    const struct qdsl_cmsis_window_parameters *p = parameters;
    cmsis_nn_conv_params conv = qdsl_cmsis_conv_params(p);
    cmsis_nn_dims x = qdsl_cmsis_input(p), w = qdsl_cmsis_filter(p, p->out_channels), y = qdsl_cmsis_output(p);
    return arm_convolve_wrapper_s8_get_buffer_size(&conv, &x, &w, &y);
}

static QDSL_APART void qdsl_cmsis_conv(const void *parameters, void *const *at)
{
    const struct qdsl_cmsis_window_parameters *p = parameters;
    cmsis_nn_context context = {.buf = at[2], .size = p->bytes};
    cmsis_nn_conv_params conv = qdsl_cmsis_conv_params(p);
    cmsis_nn_per_channel_quant_params scales = qdsl_cmsis_scales(p);
    cmsis_nn_dims x = qdsl_cmsis_input(p), w = qdsl_cmsis_filter(p, p->out_channels), y = qdsl_cmsis_output(p);
    cmsis_nn_dims bias = {.n = 1, .h = 1, .w = 1, .c = p->out_channels};
    qdsl_cmsis_done(arm_convolve_wrapper_s8(&context, &conv, &scales, &x, at[0], &w, p->weights, &bias, p->bias, &y, at[1]));
}
