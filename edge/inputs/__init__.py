"""Inputs: buttons and keys of the device, one file for each kind."""
