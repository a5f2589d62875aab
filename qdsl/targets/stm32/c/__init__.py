"""C of an integer graph: which kernels, with which constants, where in memory, in which order."""
