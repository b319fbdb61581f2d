"""CT arithmetic on arrays: Hounsfield units, windows, resampling. No files, no DICOM."""
