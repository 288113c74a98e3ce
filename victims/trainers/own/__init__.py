"""Victims of the caller's own: any function from a training set and queries to predictions."""
