"""The DICOM services that the node offers."""
