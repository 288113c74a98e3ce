"""Whole training sets of other people, without a manifest: what they are made of, and what to ask their victims."""
