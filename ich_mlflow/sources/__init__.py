"""Where slices and labels come from. Each source offers the same interface: sources/base.py."""
