"""What quantizing one layer costs the model's outputs: by running it, by gradients, by curvature."""
