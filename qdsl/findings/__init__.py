"""What is worth telling of a plan, its ranges and its artifact: each a diagnostic with its place and a cure."""
