"""Semantic search."""
