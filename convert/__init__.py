"""Turns a model into something a device runs, and proves it."""
