"""Sinks: where frames and results go, one file for each kind."""
