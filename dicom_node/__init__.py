"""The serving part: receives studies, runs the bundle's encoders, writes findings back as DICOM SR. No torch."""
