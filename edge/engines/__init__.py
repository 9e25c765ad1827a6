"""Engines: one file for each library that runs a prepared graph."""
