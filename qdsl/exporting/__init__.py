"""The integers of a finished file as plain files, for whoever writes the layers anew: in C, for an FPGA."""
