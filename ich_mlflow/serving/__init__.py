"""The model version that answers over REST: DICOM in, probabilities and decisions out."""
