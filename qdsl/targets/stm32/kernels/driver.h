/* What runs the kernels: steps from a table, and pipelines of row kernels that keep only the rows still wanted.

   Addresses of rows and tensors are kept as void *, which GCC and Clang let alias pointers to whatever kernels read.
   Bytes of the arena are written as one type and read as that; words at any address go through memcpy (common.h). */
typedef void qdsl_row_kernel(const void *parameters, const void *const *rows, void *out, void *scratch);
typedef void qdsl_plane_kernel(const void *parameters, void *const *at);

/* A tensor as rows of `bytes`, of which memory holds `ring`: row r lies at `at` + (r % ring) * bytes. `at` counts from
   the arena, or is QDSL_CONSTANT + the number of a constant. */
#define QDSL_CONSTANT 0x80000000u
struct qdsl_rows {
    uint32_t at;
    uint32_t bytes;
    uint16_t ring;
    uint16_t height;
};

/* One row kernel. `tensors` are its `count` inputs, then its output. Of a single input it sees `reach` rows for one row
   of the output, `dilation` apart, the first at `stride` times the row less `above`; of several one row each. */
struct qdsl_stage {
    qdsl_row_kernel *kernel;
    const void *parameters;
    const struct qdsl_rows *tensors;
    uint8_t count;
    uint8_t reach;
    uint8_t stride;
    uint8_t dilation;
    uint32_t above;
};

/* A plane kernel, whose tensors and scratch lie at `at`, `count` in all; or, where `kernel` is NULL, `count` stages at
   `parameters`, whose scratch lies at at[0]. The last step is followed by one of count 0. */
struct qdsl_step {
    qdsl_plane_kernel *kernel;
    const void *parameters;
    const uint32_t *at;
    uint32_t count;
};

/* What steps share: the arena, the constants that are inputs of kernels, and room for the addresses of the inputs of one
   kernel and for a count of rows per stage. */
struct qdsl_machine {
    uint8_t *arena;
    const void *const *constants;
    void **at;
    uint32_t *done;
};

static QDSL_APART void *qdsl_address(const struct qdsl_machine *machine, uint32_t at)
{
    if (at < QDSL_CONSTANT)
        return machine->arena + at;
    return (void *)(uintptr_t)machine->constants[at - QDSL_CONSTANT];
}

static QDSL_APART void *qdsl_row(const struct qdsl_machine *machine, const struct qdsl_rows *rows, uint32_t row)
{
    return (uint8_t *)qdsl_address(machine, rows->at) + (row % rows->ring) * rows->bytes;
}

static QDSL_APART void qdsl_one_row(const struct qdsl_machine *machine, const struct qdsl_stage *stage, uint32_t row,
                                    void *scratch)
{
    const struct qdsl_rows *tensors = stage->tensors;
    if (stage->count == 1) {
        uint32_t from = row * stage->stride - stage->above;
        for (uint32_t i = 0; i < stage->reach; i++, from += stage->dilation)
            machine->at[i] = from < tensors->height ? qdsl_row(machine, tensors, from) : NULL;
    } else {
        for (uint32_t i = 0; i < stage->count; i++)
            machine->at[i] = qdsl_row(machine, &tensors[i], row);
    }
    stage->kernel(stage->parameters, (const void *const *)machine->at,
                  qdsl_row(machine, &tensors[stage->count], row), scratch);
}

/* How many rows of what it reads a stage needs for this row of its output. */
static QDSL_APART uint32_t qdsl_rows_needed(const struct qdsl_stage *stage, uint32_t row)
{
    uint32_t end = row * stage->stride + (stage->reach - 1u) * stage->dilation + 1u;
    if (end <= stage->above)
        return 0;
    end -= stage->above;
    return end < stage->tensors->height ? end : stage->tensors->height;
}

/* The last stage asks for rows, and each stage before it computes a row only when the next one lacks it. */
static QDSL_APART void qdsl_pipeline(const struct qdsl_machine *machine, const struct qdsl_stage *stages,
                                     uint32_t count, void *scratch)
{
    uint32_t last = count - 1u;
    uint32_t height = stages[last].tensors[stages[last].count].height;
    for (uint32_t i = 0; i < count; i++)
        machine->done[i] = 0;
    while (machine->done[last] < height) {
        uint32_t now = last;
        while (now > 0 && machine->done[now - 1u] < qdsl_rows_needed(&stages[now], machine->done[now]))
            now--;
        qdsl_one_row(machine, &stages[now], machine->done[now], scratch);
        machine->done[now]++;
    }
}

static QDSL_APART void qdsl_run_step(const struct qdsl_machine *machine, const struct qdsl_step *step)
{
    if (step->kernel == NULL) {
        qdsl_pipeline(machine, step->parameters, step->count, qdsl_address(machine, step->at[0]));
        return;
    }
    for (uint32_t i = 0; i < step->count; i++)
        machine->at[i] = qdsl_address(machine, step->at[i]);
    step->kernel(step->parameters, machine->at);
}

/* All that network.c says of a network. `tensors` are its inputs, then its outputs, and lie at `at`. */
struct qdsl_network {
    const struct network_about *about;
    struct qdsl_machine *machine;
    struct network_tensor *tensors;
    const uint32_t *at;
    const struct qdsl_step *steps;
    uint32_t inputs;
    uint32_t outputs;
};

static QDSL_APART int qdsl_init(const struct qdsl_network *network, void *arena, size_t bytes)
{
    if (arena == NULL || bytes < network->about->arena || (uintptr_t)arena % NETWORK_ALIGNMENT != 0)
        return -1;
    network->machine->arena = arena;
    for (uint32_t i = 0; i < network->inputs + network->outputs; i++)
        network->tensors[i].data = qdsl_address(network->machine, network->at[i]);
    return 0;
}

static QDSL_APART struct network_tensor *qdsl_input(const struct qdsl_network *network, uint32_t index)
{
    return index < network->inputs ? &network->tensors[index] : NULL;
}

static QDSL_APART struct network_tensor *qdsl_output(const struct qdsl_network *network, uint32_t index)
{
    return index < network->outputs ? &network->tensors[network->inputs + index] : NULL;
}

#ifndef NETWORK_HOOK
#define NETWORK_HOOK(step) ((void)(step))
#endif

static QDSL_APART int qdsl_run(const struct qdsl_network *network)
{
    const struct qdsl_step *step = network->steps;
    if (network->machine->arena == NULL)
        return -1;
    for (; step->count != 0; step++) {
        qdsl_run_step(network->machine, step);
        NETWORK_HOOK((unsigned)(step - network->steps));
    }
    return 0;
}
