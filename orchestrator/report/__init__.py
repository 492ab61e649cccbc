"""The report on a sweep: its parts, in the order of the page. A new table or figure is one file and one line here."""

PARTS: dict[str, str] = {}
"""Name -> ``module:function``; the function makes tables and figures of a study, none where it does not apply."""
