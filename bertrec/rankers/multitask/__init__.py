"""Multi-task ranking: one network with a head for each step of a chain, such as click, cart and purchase."""
