"""Bleeds drawn into real non-contrast head CT, and sham edits that look like drawing and are no blood. Pure.

cavity    the space inside the skull, slice by slice, found in the Hounsfield units
anatomy   what drawing needs of a head: distance to the inner table, brain, CSF, ventricles, midline, noise
blood     what blood looks like in Hounsfield units: acute, faint, mixed, layered, isodense
axial     bleeds and fluid between skull and brain, which push the brain inward
inner     blood inside tissue, in the ventricles and in the sulci
render    the edits of a series painted together: displaced brain, blood, bone at its edge, noise
shams     the edits that are no blood
draw      one drawn variant of a series: pixels, masks and labels
"""
