"""One file per decoder, and `registry.py`, which says which of them decodes what."""
