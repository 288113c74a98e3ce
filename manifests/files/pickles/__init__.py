"""Pickle and torch files read by an interpreter of data opcodes; nothing in them is executed."""
