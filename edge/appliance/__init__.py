"""Puts dermedge onto a device as a service, and takes it off: with Python's own library alone."""
