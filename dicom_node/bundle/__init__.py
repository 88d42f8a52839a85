"""The bundle contract: what a bundle says of itself, read and verified."""
