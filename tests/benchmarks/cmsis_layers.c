/* Layers through CMSIS-NN's own functions, of a checkout of any version with these wrappers: the ticks that each takes are
   written to `outputs`. LAYERS are {depthwise, size, inputs, outputs, kernel, stride} with padding kernel / 2. */
#include "arm_nnfunctions.h"

#include <stdio.h>
#include <stdlib.h>

#include "cortex_start.h"

struct layer {
    int32_t depthwise, size, ins, outs, kernel, stride;
};
static const struct layer LAYERS[] = {CMSIS_LAYERS};

static void *filled(int32_t bytes)
{
    static uint32_t seed = 1;
    uint8_t *at = malloc((size_t)bytes);
    if (at == NULL)
        abort();
    for (int32_t i = 0; i < bytes; i++) {
        seed = seed * 1664525u + 1013904223u;
        at[i] = (uint8_t)(seed >> 24);
    }
    return at;
}

static int32_t *all(int32_t value, int32_t count)
{
    int32_t *at = malloc((size_t)count * sizeof *at);
    for (int32_t i = 0; i < count; i++)
        at[i] = value;
    return at;
}

static uint32_t ticks_of(const struct layer *layer)
{
    int32_t seen = layer->depthwise ? 1 : layer->ins, pad = layer->kernel / 2;
    int32_t out = (layer->size + layer->stride - 1) / layer->stride, taps = layer->kernel * layer->kernel;
    cmsis_nn_dims x = {1, layer->size, layer->size, layer->ins}, y = {1, out, out, layer->outs};
    cmsis_nn_dims w = {layer->depthwise ? 1 : layer->outs, layer->kernel, layer->kernel, layer->ins};
    cmsis_nn_dims bias = {1, 1, 1, layer->outs};
    cmsis_nn_tile stride = {layer->stride, layer->stride}, padding = {pad, pad}, dilation = {1, 1};
    cmsis_nn_activation whole = {-128, 127};
    cmsis_nn_per_channel_quant_params quant = {all(1518500250, layer->outs), all(-9, layer->outs)};
    cmsis_nn_conv_params conv = {128, -128, stride, padding, dilation, whole};
    cmsis_nn_dw_conv_params depthwise = {128, -128, 1, stride, padding, dilation, whole};
    int8_t *in = filled(layer->size * layer->size * layer->ins), *to = filled(out * out * layer->outs);
    int8_t *weights = filled(taps * seen * layer->outs);
    int32_t *biases = all(100, layer->outs);
    cmsis_nn_context context = {NULL, layer->depthwise
                                          ? arm_depthwise_conv_wrapper_s8_get_buffer_size(&depthwise, &x, &w, &y)
                                          : arm_convolve_wrapper_s8_get_buffer_size(&conv, &x, &w, &y)};
    context.buf = filled(context.size > 0 ? context.size : 4);
    uint32_t start = now();
    arm_cmsis_nn_status status =
        layer->depthwise
            ? arm_depthwise_conv_wrapper_s8(&context, &depthwise, &quant, &x, in, &w, weights, &bias, biases, &y, to)
            : arm_convolve_wrapper_s8(&context, &conv, &quant, &x, in, &w, weights, &bias, biases, &y, to);
    uint32_t ticks = now() - start;
    free(in), free(to), free(weights), free(context.buf), free(biases), free(quant.multiplier), free(quant.shift);
    if (status != ARM_CMSIS_NN_SUCCESS)
        abort();
    return ticks;
}

int main(void)
{
    FILE *outputs = fopen("outputs", "wb");
    if (outputs == NULL)
        return 4;
    for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) {
        uint32_t ticks = ticks_of(&LAYERS[i]);
        fwrite(&ticks, sizeof ticks, 1, outputs);
    }
    return fclose(outputs);
}
