"""What attacks have in common: descent, features, gradients, pairing."""
