"""A network of a few lines with the API of emitted C: what builds and runs programs is tested with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

VALUES = 16  # int8 in, as many out
HEADER = """#include <stddef.h>
#include <stdint.h>
#define NETWORK_ARENA_BYTES {arena}
#define NETWORK_INPUTS 1
#define NETWORK_OUTPUTS 1
#define NETWORK_STEPS {steps}
struct network_tensor {{ void *data; uint32_t bytes; }};
int network_init(void *arena, size_t bytes);
const struct network_tensor *network_input(unsigned index);
const struct network_tensor *network_output(unsigned index);
int network_run(void);
"""
SOURCE = """#include "network.h"
{more}
static struct network_tensor in = {{0, 16}}, out = {{0, 16}};
int network_init(void *arena, size_t bytes) {{
    in.data = arena;
    out.data = (uint8_t *)arena + 64;
    return bytes < NETWORK_ARENA_BYTES;
}}
const struct network_tensor *network_input(unsigned index) {{ return index ? 0 : &in; }}
const struct network_tensor *network_output(unsigned index) {{ return index ? 0 : &out; }}
int network_run(void) {{
    const int8_t *x = in.data;
    int8_t *y = out.data;
{body}
    return 0;
}}
"""
HOOK = "#ifdef NETWORK_HOOK\n    NETWORK_HOOK({step});\n#endif"
DOUBLE = "for (int i = 0; i < 16; i++) y[i] = (int8_t)(2 * x[i]);"  # the last step of each network


def loop(times: int) -> str:
    """C of two instructions each time, and what loads the number."""
    return f'{{ uint32_t n = {times}u; __asm__ volatile("1: subs %0, #1\\n bne 1b" : "+r"(n)); }}'


def network(folder: Path, steps: Sequence[str] = (), more: str = "", arena: int = 4096) -> Path:
    """Write network.h and network.c of these steps, C statements, and of DOUBLE; the folder."""
    every = (*steps, DOUBLE)
    body = "\n".join(f"    {step}\n{HOOK.format(step=number)}" for number, step in enumerate(every))
    (folder / "network.h").write_text(HEADER.format(steps=len(every), arena=arena), encoding="utf-8")
    (folder / "network.c").write_text(SOURCE.format(body=body, more=more), encoding="utf-8")
    return folder


def program(path: Path, lines: str) -> Path:
    """A shell script in place of a compiler or an emulator."""
    path.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
