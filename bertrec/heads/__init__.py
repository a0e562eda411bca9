"""What sits on the encoder: adaptors, item inputs, user heads and losses."""
