"""The only importer of pydicom: reading, ordering and writing CT slices."""

import logging
import warnings

import pydicom

# RSNA's identifiers (ID_<9 hex>) are no valid UIDs, and pydicom would warn at each: what matters is checked
# in dicom.slice. Set once, here, since pydicom's setting and Python's filters belong to the whole process.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module=r"pydicom\.")
logging.getLogger("pydicom").setLevel(logging.ERROR)
