"""The only importer of pydicom: reading, ordering and writing CT slices."""
