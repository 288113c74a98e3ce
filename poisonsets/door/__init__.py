"""What `import poisonsets` offers, one file a verb; it and the command line alone read the environment."""
