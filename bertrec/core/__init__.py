"""What every other package stands on: errors, atomic files, configuration and ragged arrays."""
