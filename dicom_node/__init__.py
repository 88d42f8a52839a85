"""The serving part: receives studies, runs the encoders, writes findings back as DICOM SR. Never torch."""
