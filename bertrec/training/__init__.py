"""Training for any module that returns a loss, on the Hugging Face Trainer: resumable, atomic and repeatable."""
