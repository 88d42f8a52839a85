"""Peers that keep studies and reports, behind one Protocol: `protocol.py`."""
