"""Zero-shot, retrieval and cross-modal measurements."""
