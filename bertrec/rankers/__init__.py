"""Rankers: they are trained on impressions and score given candidates after given histories."""
