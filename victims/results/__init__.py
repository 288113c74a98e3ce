"""Rows of results, their folder, and what they add up to."""
