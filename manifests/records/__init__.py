"""The typed model of `poisonset/1`: what a manifest may say."""
