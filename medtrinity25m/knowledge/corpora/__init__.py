"""Readers of corpora, one module a format: files in, snippets out."""
