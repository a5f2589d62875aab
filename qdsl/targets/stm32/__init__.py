"""STM32: integer C for Cortex-M, proved on an emulated one, and what ST's own tool takes."""
