"""A network trained end to end or from scratch."""
