"""Where everything lies in the arena of a microcontroller, and which rows of kernels run as one."""
