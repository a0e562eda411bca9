"""RecBole's ID-only models as baselines: run in a process of their own, measured by our evaluator."""
