"""Verdicts: whether a statement agrees with what the row holds, one module a kind of statement."""
