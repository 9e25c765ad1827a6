"""The classification network: EfficientNet-B0."""
