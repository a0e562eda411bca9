"""Text to vectors: Hugging Face encoders, pooling, tuning depth, embedding cache and whitening."""
