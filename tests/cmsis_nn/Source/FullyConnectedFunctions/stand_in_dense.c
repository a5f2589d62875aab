#include "arm_nnfunctions.h"

int32_t arm_fully_connected_s8_get_buffer_size(const cmsis_nn_dims *filter_dims)
{
    (void)filter_dims;
    return 0;
}

arm_cmsis_nn_status arm_fully_connected_s8(const cmsis_nn_context *ctx, const cmsis_nn_fc_params *fc_params,
                                           const cmsis_nn_per_tensor_quant_params *quant_params,
                                           const cmsis_nn_dims *input_dims, const int8_t *input_data,
                                           const cmsis_nn_dims *filter_dims, const int8_t *filter_data,
                                           const cmsis_nn_dims *bias_dims, const int32_t *bias_data,
                                           const cmsis_nn_dims *output_dims, int8_t *output_data)
{
    (void)ctx;
    if (bias_dims->c != output_dims->c)
        return ARM_CMSIS_NN_ARG_ERROR;
    for (int32_t vector = 0; vector < input_dims->n; vector++)
        for (int32_t c = 0; c < output_dims->c; c++) {
            int32_t sum = bias_data[c];
            for (int32_t i = 0; i < filter_dims->n; i++)
                sum += (input_data[vector * filter_dims->n + i] + fc_params->input_offset) *
                       (filter_data[c * filter_dims->n + i] + fc_params->filter_offset);
            *output_data++ = stand_in_code(sum, quant_params->multiplier, quant_params->shift, fc_params->output_offset,
                                           fc_params->activation);
        }
    return ARM_CMSIS_NN_SUCCESS;
}
