"""From files to samples: the one door in (`safe`), the formats, the layouts."""
