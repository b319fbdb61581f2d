"""The slice CNN: backbones, layers, classifier, heat maps, and the augmentation of what it sees."""
