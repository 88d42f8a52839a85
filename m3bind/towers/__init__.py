"""The towers: what turns an image, a waveform or a text into a point of the shared space."""
