"""P5's task families asked of one masked language model: one registry of prompts, one encoder, one token per task."""
