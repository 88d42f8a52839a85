"""From findings to a standard DICOM SR: pure functions, facts in, Dataset out."""
