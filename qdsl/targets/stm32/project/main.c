/* SPDX-License-Identifier: Apache-2.0 */
/* An example: what comes from a camera or a file goes into the network, and what it says comes out.
 *
 * On a computer: network FILE.. prints the outputs for each file. A file holds the pixels of a picture of the input's
 * size, row by row, red, green and blue one after another, a byte each; where the network takes no picture
 * (EXAMPLE_PICTURE is not defined), the bytes of the first input as they are.
 *
 * On a board `example_bytes` has to be replaced by what reads a camera or a sensor; it is called for as many bytes at a
 * time as it is asked for, and the picture is never held twice.
 */
#include "network.h"

#include "example.h"

static _Alignas(16) uint8_t arena[NETWORK_ARENA_BYTES];

int example_bytes(uint8_t *to, uint32_t count);
int main(int argc, char **argv);

/* Fill the first input. Returns 0, or -1 where the bytes have ended. */
static int fill(const struct network_tensor *input)
{
#ifdef EXAMPLE_PICTURE
    uint8_t pixel[EXAMPLE_PICTURE];
    example_code *to = input->data;
    for (uint32_t left = input->bytes / (uint32_t)(EXAMPLE_PICTURE * sizeof(example_code)); left > 0; left--) {
        if (example_bytes(pixel, EXAMPLE_PICTURE) != 0)
            return -1;
        for (uint32_t channel = 0; channel < EXAMPLE_PICTURE; channel++)
            *to++ = example_levels[256 * channel + pixel[example_source[channel]]];
    }
    return 0;
#else
    return example_bytes(input->data, input->bytes);
#endif
}

#if defined(__STDC_HOSTED__) && __STDC_HOSTED__ && !defined(__arm__)

#include <stdio.h>

static FILE *source;

int example_bytes(uint8_t *to, uint32_t count)
{
    return fread(to, 1, count, source) == count ? 0 : -1;
}

static double value(const struct network_tensor *tensor, uint32_t at)
{
    double q = 0;
    switch (tensor->dtype) {
    case NETWORK_INT8: q = ((const int8_t *)tensor->data)[at]; break;
    case NETWORK_UINT8: q = ((const uint8_t *)tensor->data)[at]; break;
    case NETWORK_INT32: q = ((const int32_t *)tensor->data)[at]; break;
    case NETWORK_INT64: q = (double)((const int64_t *)tensor->data)[at]; break;
    case NETWORK_FLOAT32: q = (double)((const float *)tensor->data)[at]; break;
    }
    return tensor->scale > 0 ? (q - tensor->zero) * (double)tensor->scale : q;
}

static void print(const struct network_tensor *tensor)
{
    uint32_t count = 1;
    for (uint32_t axis = 0; axis < tensor->rank; axis++)
        count *= tensor->shape[axis];
    printf("%s:", tensor->name);
    for (uint32_t i = 0; i < count; i++)
        printf(" %.9g", value(tensor, i));
    printf("\n");
}

int main(int argc, char **argv)
{
    if (network_init(arena, sizeof arena) != 0)
        return 1;
    fprintf(stderr, "%s: %lu bytes of arena, %lu kMAC\n", network_about()->name, (unsigned long)network_about()->arena,
            (unsigned long)(network_about()->macs / 1000));
    for (int i = 1; i < argc; i++) {
        source = fopen(argv[i], "rb");
        if (source == NULL || fill(network_input(0)) != 0) {
            fprintf(stderr, "%s: cannot be read, or too short\n", argv[i]);
            return 1;
        }
        fclose(source);
        network_run();
        for (unsigned output = 0; output < NETWORK_OUTPUTS; output++)
            print(network_output(output));
    }
    return 0;
}

#else

/* Grey, until something better is there. */
__attribute__((weak)) int example_bytes(uint8_t *to, uint32_t count)
{
    while (count-- > 0)
        *to++ = 128;
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    if (network_init(arena, sizeof arena) != 0)
        return 1;
    for (;;)
        if (fill(network_input(0)) == 0)
            network_run(); /* then network_output(0)->data holds the answer */
}

#endif
