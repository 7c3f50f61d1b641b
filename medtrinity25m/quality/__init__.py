"""Is it true: statements taken from texts, checked against what the row holds; scores; people's judgment."""
