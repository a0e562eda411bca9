"""RecBole in a process of its own: its ID-only models as baselines, measured by our evaluator."""
