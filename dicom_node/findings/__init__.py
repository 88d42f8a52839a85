"""Vectors in, Findings out: pure arithmetic, no file, no socket, no model."""
