"""What a trial does with its settings: train and measure a retriever, a ranker, one of RecBole's models, or an index."""
