"""Emitted C built for a Cortex-M and run under QEMU: outputs, instructions, stack, and what the linker made of it."""
