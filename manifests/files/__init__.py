"""Bytes on disk: each file format read within limits and written whole."""
