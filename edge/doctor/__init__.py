"""Looks at what dermedge stands on: one line for each cause, with the way out."""
