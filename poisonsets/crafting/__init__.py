"""From a craft request to a poison set on disk."""
