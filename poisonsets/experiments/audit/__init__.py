"""An audit: how far a few poisons among somebody's own photographs turn a model that is trained on them."""
