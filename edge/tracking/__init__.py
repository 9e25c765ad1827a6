"""Regions that keep still: letters, classes and outlines over time."""
