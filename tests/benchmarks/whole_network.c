/* A whole network of another tool on an emulated Cortex-M: samples from `inputs`, answers to `outputs`, and to `counts` the
   ticks of the first run, the most of the heap that lived at a time, and the stack that was used. `network` is the tool's;
   without a network, this file alone. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cortex_start.h"

#define PAINTED 65536u

extern void network(const void *in, void *out);
extern uint8_t end[]; /* of what the linker has placed; the C library's own heap follows */

static uint32_t held, most;
static _Alignas(8) uint8_t in[INPUT_BYTES], out[OUTPUT_BYTES];
static uint8_t *next[2];

/* Two pieces of memory, 4 and 16 MB, in which nothing is given back before everything is. */
void *__wrap_malloc(size_t size)
{
    uint8_t *const from[2] = {(uint8_t *)0x20000000u, end + 65536};
    uint8_t *const to[2] = {(uint8_t *)0x20400000u, (uint8_t *)0x60fd0000u};
    uint32_t whole = ((uint32_t)size + 15u) & ~7u;
    for (int32_t i = 0; i < 2; i++) {
        if (held == 0)
            next[i] = from[i];
        if (whole <= (uint32_t)(to[i] - next[i])) {
            uint64_t *at = (uint64_t *)(void *)next[i];
            next[i] += whole;
            next[1 - i] = held == 0 ? from[1 - i] : next[1 - i];
            *at = size;
            held += (uint32_t)size;
            most = held > most ? held : most;
            return at + 1;
        }
    }
    abort();
}

void __wrap_free(void *at)
{
    if (at != NULL)
        held -= (uint32_t)((uint64_t *)at)[-1];
}

#ifdef NOTHING
void network(const void *from, void *to)
{
    (void)from, (void)to;
}
#endif

__attribute__((noinline)) static uint32_t run(uint32_t *ticks)
{
    volatile uint8_t *low = (volatile uint8_t *)__builtin_frame_address(0) - PAINTED;
    uint32_t start, i = 0;
    for (uint32_t n = 0; n + 256 < PAINTED; n++)
        low[n] = 0xa5;
    start = now();
    network(in, out);
    *ticks = now() - start;
    while (i < PAINTED && low[i] == 0xa5)
        i++;
    return PAINTED - i;
}

int main(void)
{
    FILE *inputs = fopen("inputs", "rb"), *outputs = fopen("outputs", "wb"), *counts = fopen("counts", "wb");
    uint32_t found[3] = {0, 0, 0};
    for (int32_t n = 0; fread(in, 1, sizeof in, inputs) == sizeof in; n++) {
        uint32_t ticks, before = most = held;
        uint32_t stack = run(&ticks);
        if (n == 0)
            found[0] = ticks, found[1] = most - before, found[2] = stack;
        fwrite(out, 1, sizeof out, outputs);
    }
    fwrite(found, sizeof *found, 3, counts);
    return fclose(outputs) | fclose(counts);
}
