"""Third-party training sets without a manifest: their contents, and the targets of their victims."""
