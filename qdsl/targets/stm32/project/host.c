/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the network on a computer: host INPUTS OUTPUTS [WANTED TRACES].
 *
 * INPUTS holds the bytes of all inputs of one sample after those of another, OUTPUTS gets those of the outputs likewise.
 * Built with host.h before network.c it reads two words per step from WANTED, where in the arena its output begins and how
 * many bytes it has, and writes these bytes to TRACES as each step ends.
 */
#include <stdio.h>
#include <string.h>

#include "network.h"

void host_step(unsigned step);

static _Alignas(16) uint8_t arena[NETWORK_ARENA_BYTES];
static uint32_t wanted[NETWORK_STEPS][2];
static FILE *traces;

void host_step(unsigned step)
{
    if (traces != NULL && fwrite(arena + wanted[step][0], 1, wanted[step][1], traces) != wanted[step][1])
        perror("traces");
}

static int read_sample(FILE *from)
{
    for (unsigned i = 0; i < NETWORK_INPUTS; i++) {
        const struct network_tensor *input = network_input(i);
        if (fread(input->data, 1, input->bytes, from) != input->bytes)
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    FILE *inputs = argc > 2 ? fopen(argv[1], "rb") : NULL;
    FILE *outputs = argc > 2 ? fopen(argv[2], "wb") : NULL;
    if (inputs == NULL || outputs == NULL)
        return 2;
    if (argc > 4) {
        FILE *which = fopen(argv[3], "rb");
        traces = fopen(argv[4], "wb");
        if (which == NULL || traces == NULL || fread(wanted, 1, sizeof wanted, which) != sizeof wanted)
            return 2;
        fclose(which);
    }
    memset(arena, 0xA5, sizeof arena); /* as if something had run before: nothing of it may matter */
    if (network_run() == 0 || network_init(arena, sizeof arena - 1) == 0)
        return 3;
    int taken = network_init(arena, sizeof arena);
    if (taken != 0)
        return taken == -2 ? 4 : 3; /* a library asks for more than there is */
    if (network_input(NETWORK_INPUTS) != NULL || network_output(NETWORK_OUTPUTS) != NULL)
        return 3;
    if (network_about()->arena != sizeof arena)
        return 3;
    while (read_sample(inputs)) {
        int ran = network_run();
        if (ran != 0)
            return ran == -2 ? 4 : 3;
        for (unsigned i = 0; i < NETWORK_OUTPUTS; i++) {
            const struct network_tensor *output = network_output(i);
            if (fwrite(output->data, 1, output->bytes, outputs) != output->bytes)
                return 2;
        }
    }
    fclose(inputs);
    if (traces != NULL && fclose(traces) != 0)
        return 2;
    return fclose(outputs) == 0 ? 0 : 2;
}
