"""Searches on a table: every point of a small space was trained, so a search is looked up in place of run."""
