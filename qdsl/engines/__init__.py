"""What engines that are built of a file elsewhere turn out to compute, node by node."""
