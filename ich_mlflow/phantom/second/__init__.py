"""The second edition of the phantoms: what the first lacks beside real head CT.

patient    what differs from patient to patient, harmless findings among it
planes     the head at two depths of every slice, of which a slice is the mean
bleeds     where blood is, and how far it pushes the brain
blood      what blood looks like: fresh, faint, mixed, layered, old
skull      skull, skull base, face and scalp of one plane in Hounsfield units
brain      what lies within the skull: brain, vessels, sinuses, tentorium, calcium, infarcts
scanner    noise, kernels, streaks, motion
render     all of it together: the pixels and the masks of an exam
"""
