"""Matplotlib figures: arrays in, Figure out.

Figures are built as matplotlib.figure.Figure and never through pyplot, so that nothing global is
changed, no display is needed, and a figure is freed when its last reference goes.
"""
