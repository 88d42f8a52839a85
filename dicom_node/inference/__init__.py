"""Runs the encoders of a bundle: arrays in, vectors out."""
