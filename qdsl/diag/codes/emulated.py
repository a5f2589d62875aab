"""Diagnostic codes of building emitted C and running it on an emulated core."""

from __future__ import annotations

from qdsl.diag.codes import CodeDoc

CODES: dict[str, CodeDoc] = {
    "c-invalid": CodeDoc(
        "the compiler does not take the emitted C",
        "Emitted C is C11 that arm-none-eabi-gcc compiles without a warning. Where it does not, the compiler is older "
        "or not whole (newlib's headers are a package of their own on Debian), a file beside network.c is missing, or "
        "the emitter is wrong.",
        "recipe example\n",
        verb="library",
        cure="compile network.c by hand with the Makefile beside it, which says more; if the C is wrong, report it",
    ),
    "cmsis-nn-unfit": CodeDoc(
        "CMSIS-NN at the place that is named does not go with the emitted C",
        "With `kernels cmsis_nn` in `target stm32` emitted C calls functions of CMSIS-NN, which QDSL_CMSIS_NN names a "
        "checkout of. Nothing lies there, or its functions take other parameters, or ask for more scratch than the "
        "arena has for them: those of its sources from October 2022 to 2026 do not.",
        "recipe example\n",
        verb="library",
    ),
    "c-too-large": CodeDoc(
        "the program does not fit into the board's memory",
        "The linker adds up what lies in flash (code, weights, first values) and in RAM (the arena, what is written), "
        "and knows what the board has. Nothing is built that would not fit.",
        "recipe example\n",
        verb="library",
    ),
    "c-differs": CodeDoc(
        "the emitted C computes something else than the integers of the model",
        "Every output of the C, run on an emulated core, is held against an interpreter of the same integer graph: "
        "they are the same to the bit where all of it computes in integers, and within 1e-5 of the largest value where "
        "something computes in float32. Where they are not, a kernel is wrong, or the compiler is told to contract "
        "multiplications and additions.",
        "recipe example\n",
        verb="library",
        cure="report it with the recipe and the model; no board should run this C",
    ),
    "emulation-failed": CodeDoc(
        "the program does not run to its end on the emulated core",
        "It ran out of its time, faulted, used up its stack, or refused its arena. Under QEMU flash cannot be written, "
        "nothing can be read at NULL, and nothing lies below the stack, so that an access that is wrong is told with "
        "the function it happens in. Emitted C never does so: if it does, the emitter is wrong.",
        "recipe example\n",
        verb="library",
        cure="report it with the recipe and the model; network.c under the host's sanitizers says more",
    ),
}
