"""The review kit: blind packs for two readers, and what their verdicts come to."""
