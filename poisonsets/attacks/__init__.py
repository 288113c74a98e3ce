"""The attacks: one file each, one registered factory a file. The folder listing is the list of attacks."""
