"""network.c: the tables of a network, and the five functions over them."""

from __future__ import annotations

from qdsl.integer.records import IntegerGraph
from qdsl.targets.stm32.c.literals import floating, quoted
from qdsl.targets.stm32.c.shapes import nbytes
from qdsl.targets.stm32.c.tables import Tables

_HEAD = """\
/* SPDX-License-Identifier: Apache-2.0 */
/* Tables: what each kernel is told, where tensors lie in the arena, and what runs in which order. */
#include <math.h>

#include "network.h"
#include "kernels.h"
#include "weights.h"

"""

_TAIL = """\
static void *network_at[{reach}];
static uint32_t network_done[{deepest}];

static struct qdsl_machine network_machine = {{NULL, {constants}, network_at, network_done}};

static const _Alignas(4) char network_name[] = {name};
static const _Alignas(4) char network_hash[] = {hash};
static const struct network_about network_description = {{network_name, network_hash, NETWORK_ARENA_BYTES, {macs}u}};

static const struct qdsl_network network = {{
    &network_description, &network_machine, network_tensors, network_tensors_at, network_steps, NETWORK_INPUTS,
    NETWORK_OUTPUTS,
}};

{needs}int network_init(void *arena, size_t bytes)
{{
{asked}    return qdsl_init(&network, arena, bytes);
}}

struct network_tensor *network_input(unsigned index)
{{
    return qdsl_input(&network, index);
}}

struct network_tensor *network_output(unsigned index)
{{
    return qdsl_output(&network, index);
}}

int network_run(void)
{{
{run}}}

const struct network_about *network_about(void)
{{
    return network.about;
}}
"""

# Where a library computes some of the steps.
_ASKED = """\
    if (!qdsl_cmsis_fits(network_needs, sizeof network_needs / sizeof *network_needs))
        return -2;
"""
_RUN = """\
    qdsl_cmsis_refused = 0;
    int ran = qdsl_run(&network);
    return ran == 0 && qdsl_cmsis_refused ? -2 : ran;
"""


def network_c(tables: Tables, macs: int, digest: str) -> str:
    graph = tables.graph
    tail = _TAIL.format(
        reach=tables.reach,
        deepest=tables.deepest,
        constants="network_constants" if tables.inputs else "NULL",
        name=quoted(graph.name),
        hash=quoted(digest),
        macs=min(macs, 2**32 - 1),
        needs=_table("const struct qdsl_cmsis_need network_needs", tables.asks) if tables.asks else "",
        asked=_ASKED if tables.asks else "",
        run=_RUN if tables.asks else "    return qdsl_run(&network);\n",
    )
    parts = [_HEAD, *(f"{text}\n" for text in tables.parameters)]
    if tables.inputs:
        names = [f"    {name},\n" for name in tables.inputs.values()]
        parts.append(_table("const void *const network_constants", names))
    if tables.stages:
        parts.append(_table("const struct qdsl_rows network_rows", tables.rows))
        parts.append(_table("const struct qdsl_stage network_stages", tables.stages))
    if tables.places:
        places = [f"    {place},\n" for place in tables.places]
        parts.append(_table("const uint32_t network_places", places))
    parts.append(_table("const struct qdsl_step network_steps", [*tables.lines, "    {NULL, NULL, NULL, 0},\n"]))
    return "".join([*parts, _tensors(tables), tail])


def _table(head: str, lines: list[str]) -> str:
    return f"static {head}[{len(lines)}] = {{\n{''.join(lines)}}};\n\n"


def _tensors(tables: Tables) -> str:
    graph = tables.graph
    names = [*graph.inputs, *graph.outputs]
    shapes = [
        f"static const _Alignas(4) char network_tensor_{number}[] = {quoted(name)};\n"
        f"static const uint32_t network_shape_{number}[] = {{{', '.join(map(str, graph.tensors[name].shape)) or 1}}};\n"
        for number, name in enumerate(names)
    ]
    at = [f"    {tables.placed.tensors[name]}u,\n" for name in names]
    described = [_described(graph, name, number) for number, name in enumerate(names)]
    table = _table("struct network_tensor network_tensors", described)
    return "".join([*shapes, "\n", table, _table("const uint32_t network_tensors_at", at)])


def _described(graph: IntegerGraph, name: str, number: int) -> str:
    tensor = graph.tensors[name]
    scale, zero = (tensor.encoding.scale, tensor.encoding.zero) if tensor.encoding else (0.0, 0)
    return (
        f"    {{NULL, network_tensor_{number}, network_shape_{number}, {len(tensor.shape)}, {nbytes(tensor)}u,"
        f" NETWORK_{tensor.dtype.upper()}, {floating(scale)}, {zero}}},\n"
    )
