"""Optuna studies over the settings of any model: spaces, workers, honest selection, and what a study leaves behind."""
