"""What a checkpoint can do, measured on val and test splits."""
