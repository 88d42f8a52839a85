"""Encoders of single modalities."""
