"""8 release: splits, shards, card, Croissant, hub."""
