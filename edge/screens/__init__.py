"""Screens: where pictures are shown, one file for each kind."""
