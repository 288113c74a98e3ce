"""The command line: words, tables, progress and exit codes. Nothing else in the project prints, exits or reads the
environment."""
