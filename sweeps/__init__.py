"""Sweep files, found by name: ``orchestrate sweep quickstart``."""
