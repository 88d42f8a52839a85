"""The thin plug inside Orthanc: standard library and `orthanc` alone."""
