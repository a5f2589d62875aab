/* Runs row kernels on cases from the file `cases` and writes their outputs to `outputs`, on a host or on QEMU's mps2-an500
   (semihosting). A case is a run of int32 (tests/kernel_tools.py writes it); an output is the ticks that it took, then its
   bytes. Each row of an input lies in memory of its own, so that a sanitizer sees what is read beside it. */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>

typedef void row_kernel(const void *parameters, const void *const *rows, void *out, void *scratch);
static row_kernel *const KERNELS[] = {DRIVEN_KERNELS};

#include "cortex_start.h"

static FILE *cases;

static int32_t number(void)
{
    int32_t value = 0;
    if (fread(&value, sizeof value, 1, cases) != 1)
        abort();
    return value;
}

static void *block(int32_t bytes)
{
    void *at = malloc(bytes > 0 ? (size_t)bytes : 1);
    if (at == NULL || fread(at, 1, (size_t)bytes, cases) != (size_t)bytes)
        abort();
    return at;
}

static void *parameters(void)
{
    int32_t fields = number();
    char *all = calloc((size_t)fields + 1, sizeof(void *)), *end = all;
    for (int32_t i = 0; i < fields; i++) {
        int32_t value = number(), kind = number();
        if (kind == 0) {
            memcpy(end, &value, sizeof value);
            end += sizeof value;
            continue;
        }
        void *at = kind == 1 ? block(value) : NULL;
        end = all + ((size_t)(end - all) + sizeof at - 1) / sizeof at * sizeof at;
        memcpy(end, &at, sizeof at);
        end += sizeof at;
    }
    return all;
}

int main(void)
{
    FILE *outputs = fopen("outputs", "wb");
    cases = fopen("cases", "rb");
    if (cases == NULL || outputs == NULL)
        return 4;
    for (int32_t left = number(); left > 0; left--) {
        row_kernel *kernel = KERNELS[number()];
        void *p = parameters();
        int32_t reach = number(), stride = number(), step = number(), above = number(), overlap = number();
        int32_t height = number(), row = number(), out_height = number(), out_row = number();
        void *scratch = malloc((size_t)number());
        const void **rows = calloc((size_t)height, sizeof *rows), **under = calloc((size_t)reach, sizeof *under);
        char *out = malloc((size_t)(out_height * out_row) + (size_t)(overlap < 0 ? 0 : overlap + height * row));
        for (int32_t i = 0; i < height; i++) {
            rows[i] = block(row);
            if (overlap >= 0)
                rows[i] = memcpy(out + overlap + i * row, rows[i], (size_t)row);
        }
        uint32_t start = now();
        for (int32_t y = 0; y < out_height; y++) {
            for (int32_t i = 0, at = y * stride - above; i < reach; i++, at += step)
                under[i] = at < 0 || at >= height ? NULL : rows[at];
            kernel(p, under, out + y * out_row, scratch);
        }
        uint32_t ticks = now() - start;
        fwrite(&ticks, sizeof ticks, 1, outputs);
        fwrite(out, 1, (size_t)(out_height * out_row), outputs);
    }
    return fclose(outputs);
}
