"""Notes of our own words with citations: data only, read by `medtrinity25m.knowledge.notes_corpus`."""
