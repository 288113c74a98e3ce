"""Training a network: views, the loop, pretraining, checkpoints."""
