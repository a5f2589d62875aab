/* Layers that functions of CMSIS-NN compute, of a checkout that is named when this is built. Its headers are no part of
   what is warned of here (-isystem). */
#include "arm_nnfunctions.h"

/* Whether a function of it refused to compute, since network_run began. */
static int qdsl_cmsis_refused;

/* How many bytes of scratch a function of it asks for, and how many the arena has for it. */
typedef int32_t qdsl_cmsis_bytes(const void *parameters);
struct qdsl_cmsis_need {
    qdsl_cmsis_bytes *bytes;
    const void *parameters;
    int32_t given;
};

static QDSL_APART int qdsl_cmsis_fits(const struct qdsl_cmsis_need *needs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (needs[i].bytes(needs[i].parameters) > needs[i].given)
            return 0;
    return 1;
}

QDSL_INLINE void qdsl_cmsis_done(arm_cmsis_nn_status status)
{
    if (status != ARM_CMSIS_NN_SUCCESS)
        qdsl_cmsis_refused = 1;
}
