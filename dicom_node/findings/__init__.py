"""From vectors to findings: pure functions on arrays."""
