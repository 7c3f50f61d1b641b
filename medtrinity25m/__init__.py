"""Image–ROI–description triplets from folders of medical images, released as a Hugging Face dataset.

The package opens no file, reads no environment variable and loads no model when it is imported. Start
reading at `medtrinity25m.triplet`, the record everything else makes or checks; then `medtrinity25m.build`,
the pipeline as one list of stages.
"""

__version__ = "0.1.0"

__all__ = ["__version__"]
