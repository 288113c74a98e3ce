"""Foreign formats: poison sets that other tools wrote, read without trusting them, and written for those tools."""
