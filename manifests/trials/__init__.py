"""Trials by their setup (drawn, named, from a file): of each its targets, bases and labels."""
