"""Another tool's poisons read as a poison set."""
