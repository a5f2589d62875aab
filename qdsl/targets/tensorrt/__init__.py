"""NVIDIA's TensorRT: a Q/DQ file with what builds, times and verifies an engine of it on the machine that has a GPU."""
