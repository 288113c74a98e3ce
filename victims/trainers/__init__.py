"""How a victim is trained on a composed training set."""
