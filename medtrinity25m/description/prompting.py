"""How a model is asked, whichever it is: options of the prompt, apart from what makes one, which loads much more."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from medtrinity25m.triplet import Frozen


class Prompting(Frozen):
    """How a model is asked, whichever it is.

    Args:
        pictures: `both` sends the image and the copy with the boxes; `boxed` the copy alone, for models that take one
            picture (the paper sends only this one). An image without regions is sent as it is.
        max_side: pixels of the longer side of what is sent. 1024 keeps a lesion of 1 % of the image 100 pixels wide;
            most models reduce further.
        reference_text: whether the text an image was published with is quoted in the prompt.
        temperature: 0 is greedy decoding, which repeats best; the paper's captioner used 0.1.
        max_tokens: of the reply: five regions of 60 words, the other texts and the JSON around them need about 1200.
        attempts: how often a reply that cannot be read is asked for, the first time included.
    """

    pictures: Literal["both", "boxed"] = "both"
    max_side: int = Field(default=1024, ge=64, le=8192)
    reference_text: bool = True
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=2048, ge=64)
    attempts: int = Field(default=3, ge=1, le=10)
