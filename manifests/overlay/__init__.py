"""Poisons on top of the base: stamped, counted, and composed into a victim's training set."""
