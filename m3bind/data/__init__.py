"""Real images, records and captions for training."""
