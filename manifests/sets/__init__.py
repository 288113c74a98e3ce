"""A poison set on disk: its shards, its card, its writer and its reader."""
