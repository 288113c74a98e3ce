"""Experiments: many sets and victims behind one command, and a page that says what came of them."""
