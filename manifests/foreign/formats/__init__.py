"""The foreign formats, one file each; the listing of this folder is the registry."""
