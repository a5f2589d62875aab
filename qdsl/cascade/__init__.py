"""Which line of a recipe rules where: the settings of each node and tensor, with the line they come from."""
