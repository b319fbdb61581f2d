"""The head CT that the project makes itself: anatomy from MNI152, bleeds placed by what defines them.

template   MNI152 tissue maps and the distances to inner table and ventricles, in template millimetres
grid       where a scan's pixels lie in the patient and in the template
shapes     soft edges, ellipsoids and smooth noise on such a grid
anatomy    one patient's head in Hounsfield units
bleeds     the five subtypes as masks
scanner    what the scanner adds: blur, noise, streaks, the head holder
exam       all of it together: one exam from options and a number
cohort     many exams, written as DICOM in the RSNA 2019 layout
studies    studies as a hospital exports them, with other series (other_series) and other files among them
"""
