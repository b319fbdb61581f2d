"""Studies scored by a model version: slices, exams, what to look at first, pictures, DICOM, pages."""
