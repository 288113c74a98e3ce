"""A linear head on a frozen feature extractor."""
