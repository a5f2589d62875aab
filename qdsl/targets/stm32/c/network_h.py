"""network.h: all that a program sees of a network."""

from __future__ import annotations

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.literals import told
from qdsl.targets.stm32.c.shapes import nbytes

ALIGNMENT = 8  # bytes, of the arena

_HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* {name}: five functions run it. There is one network and one arena; nothing is allocated, and no function is called by
   an interrupt while another runs.

   static _Alignas(NETWORK_ALIGNMENT) uint8_t arena[NETWORK_ARENA_BYTES];
   network_init(arena, sizeof arena);
   fill network_input(0)->data, network_input(0)->bytes of it
   network_run();
   read network_output(0)->data

   The arena holds inputs, outputs and everything between. What an input holds is overwritten by network_run, and what
   an output holds by writing an input.

   Two networks in one program need names of their own for the linker: -DNETWORK_PREFIX=crack_ where network.c is
   compiled and where this file is included makes crack_init of network_init, and so on. A source file can include one
   network. */
#ifndef NETWORK_H
#define NETWORK_H

#include <stddef.h>
#include <stdint.h>

#ifdef NETWORK_PREFIX
#define NETWORK_JOINED(prefix, name) prefix##name
#define NETWORK_NAMED(prefix, name) NETWORK_JOINED(prefix, name)
#define network_init NETWORK_NAMED(NETWORK_PREFIX, init)
#define network_input NETWORK_NAMED(NETWORK_PREFIX, input)
#define network_output NETWORK_NAMED(NETWORK_PREFIX, output)
#define network_run NETWORK_NAMED(NETWORK_PREFIX, run)
#define network_about NETWORK_NAMED(NETWORK_PREFIX, about)
#endif

#ifdef __cplusplus
extern "C" {{
#endif

#define NETWORK_ARENA_BYTES {arena}u /* bytes */
#define NETWORK_ALIGNMENT {alignment}u /* of the arena, in bytes */
#define NETWORK_INPUTS {inputs}u
#define NETWORK_OUTPUTS {outputs}u
#define NETWORK_STEPS {steps}u

{sizes}
enum network_dtype {{ NETWORK_INT8, NETWORK_UINT8, NETWORK_INT32, NETWORK_INT64, NETWORK_FLOAT32 }};

/* An input or an output. Pictures are stored row by row with channels last: shape is 1, height, width, channels. An
   integer q of scale s and zero point z stands for (q - z) * s; where scale is 0 it stands for itself. */
struct network_tensor {{
    void *data;
    const char *name;
    const uint32_t *shape;
    uint32_t rank;
    uint32_t bytes;
    enum network_dtype dtype;
    float scale;
    int32_t zero;
}};

struct network_about {{
    const char *name;
    const char *hash; /* SHA-256 of the kernels, weights and tables, in hexadecimal digits */
    uint32_t arena;   /* bytes, as NETWORK_ARENA_BYTES */
    uint32_t macs;    /* multiply-accumulates of convolutions and matrices, or 2^32 - 1 */
}};

/* Takes the arena over. Returns 0, or -1 where it is too small or not aligned{more}; before that nothing else works. */
int network_init(void *arena, size_t bytes);

/* The input or output of this number, NULL if there is none. */
struct network_tensor *network_input(unsigned index);
struct network_tensor *network_output(unsigned index);

/* Computes the outputs. Returns 0, or -1 before network_init{refused}.
   Where a macro NETWORK_HOOK(step) is defined before network.c it is called after each step, with its number from 0 to
   NETWORK_STEPS - 1. */
int network_run(void);

const struct network_about *network_about(void);

#ifdef __cplusplus
}}
#endif

#endif
"""


_MORE = ",\n   -2 where CMSIS-NN asks for more scratch than lies in it"
_REFUSED = ", -2 where CMSIS-NN refuses"


def network_h(graph: IntegerGraph, arena: int, steps: int, *, library: bool = False) -> str:
    sizes = [
        f"#define NETWORK_{kind}_{number}_BYTES {nbytes(graph.tensors[name])}u /* {told(name)} */\n"
        for kind, names in (("INPUT", graph.inputs), ("OUTPUT", graph.outputs))
        for number, name in enumerate(names)
    ]
    return _HEAD.format(
        name=told(graph.name),
        arena=arena,
        alignment=ALIGNMENT,
        inputs=len(graph.inputs),
        outputs=len(graph.outputs),
        steps=steps,
        more=_MORE if library else "",
        refused=_REFUSED if library else "",
        sizes="".join(sizes),
    )
