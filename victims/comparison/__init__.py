"""Rows of many sets, protocols and victims in one table, ranked where they can be compared."""
