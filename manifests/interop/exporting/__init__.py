"""A poison set written in another tool's layout."""
