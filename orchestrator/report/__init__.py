"""The report on a sweep: its parts, in the order of the page. A new table or figure is one file and one line here."""

PARTS: dict[str, str] = {
    "relations": "orchestrator.report.relations:relations",
    "speed": "orchestrator.report.speed:speed",
    "against_published": "orchestrator.report.against_published:against_published",
    "pareto": "orchestrator.report.pareto:pareto",
    "confirmed": "orchestrator.report.confirmed:confirmed",
    "pivot": "orchestrator.report.cells:pivot",
    "cells": "orchestrator.report.cells:cells",
    "comparisons": "orchestrator.report.comparisons:comparisons",
    "between_trainings": "orchestrator.report.between_trainings:between_trainings",
    "layer_changes": "orchestrator.report.layer_changes:layer_changes",
    "accuracy_by_factor": "orchestrator.report.accuracy_by_factor:accuracy_by_factor",
    "history": "orchestrator.report.history:history",
    "survivors": "orchestrator.report.survivors:survivors",
    "importance": "orchestrator.report.importance:importance",
    "slices": "orchestrator.report.slices:slices",
    "parallel_coordinates": "orchestrator.report.parallel_coordinates:parallel_coordinates",
    "learning_curves": "orchestrator.report.learning_curves:learning_curves",
    "return_curves": "orchestrator.report.return_curves:return_curves",
    "trajectories": "orchestrator.report.trajectories:trajectories",
}
"""Name -> ``module:function``; the function makes tables and figures of a study, none where it does not apply."""
