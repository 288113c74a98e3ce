"""What several attacks are made of; all that needs PyTorch is here, for their own files load without it."""
