"""One file for each command of ``dermedge``."""
