"""Fitting any network to any images: views, the loop, pretraining, checkpoints; `victims.trainers` builds on it."""
