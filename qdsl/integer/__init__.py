"""The integer graph: what a microcontroller computes, operator by operator, with tensors as they lie in memory."""
