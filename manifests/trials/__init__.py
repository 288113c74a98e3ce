"""Setups: which target, which bases and which label, for every trial of a set."""
