"""The stages: a folder for each entry point of MLproject, which composes the layers below."""
