"""Cut documents along their structure: sections first, then blocks, then sentences, rows or lines.

The canonical text is the text of all blocks, joined by blank lines; every passage is a slice of it, so that a citation
points at the very characters that the model was shown.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from core.sentences import split_sentences
from plugins.contracts import (
    Block,
    BlockKind,
    ChunkDraft,
    ChunkedDocument,
    ChunkingProfile,
    ParsedDocument,
    TokenCounter,
)

BLOCK_GAP = "\n\n"
LONGEST_TOKEN = 16  # characters; word-piece vocabularies count a word of any length as one unknown token
CUT_MARGIN = 0.9  # of the length that the average density of a long span promises; saves a second count
BY_LINE = frozenset({BlockKind.TABLE, BlockKind.CODE, BlockKind.LIST})
WITH_OVERLAP = frozenset({BlockKind.PARAGRAPH, BlockKind.QUOTE})


@dataclass(frozen=True)
class _Span:
    """A stretch of the canonical text. tokens counts the white space before it too, where a piece precedes it."""

    start: int
    end: int
    tokens: int
    block: int


@dataclass(frozen=True)
class _PlacedBlock:
    kind: BlockKind
    start: int
    end: int
    page: int | None
    level: int


@dataclass
class _Section:
    """Headings, and the blocks below them on one page."""

    heading_path: tuple[str, ...]
    headings: list[int] = field(default_factory=list)
    body: list[int] = field(default_factory=list)


class StructureChunker:
    """Passages that follow headings, pages, paragraphs, list items, rows and lines; sentences stay whole.

    A section and a page begin a new passage. Small paragraphs share one. A heading stands in the passage below it.
    A paragraph over the limit is cut between sentences, with an overlap; a table between rows; code between lines.
    """

    name = "structure"
    version = 1

    def chunk(self, document: ParsedDocument, profile: ChunkingProfile, count_tokens: TokenCounter) -> ChunkedDocument:
        """Passages of at most `profile.max_tokens`; the count of a whole must not exceed the sum of its parts."""
        text, blocks = _place(document.blocks)
        cutter = _Cutter(text, blocks, profile, count_tokens)
        drafts: list[ChunkDraft] = []
        for section in _sections(text, blocks):
            for spans in cutter.cut([*section.headings, *section.body]):
                start, end = spans[0].start, spans[-1].end
                drafts.append(
                    ChunkDraft(
                        ordinal=len(drafts),
                        text=text[start:end],
                        heading_path=section.heading_path,
                        page=blocks[spans[-1].block].page,
                        char_start=start,
                        char_end=end,
                    )
                )
        return ChunkedDocument(text=text, chunks=tuple(drafts))


def _place(blocks: Iterable[Block]) -> tuple[str, list[_PlacedBlock]]:
    """The canonical text, and where each block stands in it. Blocks without text are left out."""
    texts: list[str] = []
    placed: list[_PlacedBlock] = []
    position = 0
    for block in blocks:
        text = block.text.rstrip().lstrip("\r\n")
        if not text:
            continue
        placed.append(_PlacedBlock(block.kind, position, position + len(text), block.page, block.level or 1))
        texts.append(text)
        position += len(text) + len(BLOCK_GAP)
    return BLOCK_GAP.join(texts), placed


def _sections(text: str, blocks: Sequence[_PlacedBlock]) -> Iterator[_Section]:
    """Sections in reading order. A heading opens one when text precedes it; so does a new page."""
    open_headings: list[tuple[int, str]] = []
    section = _Section(())
    page: int | None = None
    for index, block in enumerate(blocks):
        is_heading = block.kind is BlockKind.HEADING
        turns_page = block.page != page and bool(section.headings) and is_heading
        if (section.body and (is_heading or block.page != page)) or turns_page:
            yield section
            section = _Section(section.heading_path)
        page = block.page
        if is_heading:
            while open_headings and open_headings[-1][0] >= block.level:
                open_headings.pop()
            open_headings.append((block.level, " ".join(text[block.start : block.end].split())))
            section.headings.append(index)
            section.heading_path = tuple(title for _, title in open_headings)
        else:
            section.body.append(index)
    if section.headings or section.body:
        yield section


class _Cutter:
    """Fills passages up to the limit."""

    def __init__(
        self, text: str, blocks: Sequence[_PlacedBlock], profile: ChunkingProfile, count_tokens: TokenCounter
    ) -> None:
        self.text = text
        self.blocks = blocks
        self.count_tokens = count_tokens
        self.per_call = count_tokens("")  # start and end marks, which some counters add to every text
        self.limit = max(1, profile.max_tokens - self.per_call)
        self.overlap = min(profile.overlap_tokens, self.limit // 2)
        self.gap = self._tokens(BLOCK_GAP)
        self.current: list[_Span] = []
        self.used = 0

    def cut(self, indexes: Sequence[int]) -> Iterator[list[_Span]]:
        """The passages of one section, each as the spans it is made of."""
        for index in indexes:
            block = self.blocks[index]
            whole = _Span(block.start, block.end, self._tokens(self.text[block.start : block.end]), index)
            fits_alone = whole.tokens <= self.limit
            if fits_alone and not self._fits(whole) and self._has_body():
                yield self._close()
            for piece in [whole] if fits_alone and self._fits(whole) else self._pieces(whole):
                if not self._fits(piece):
                    previous = self._close()
                    yield previous
                    self._begin_with_overlap(piece, previous)
                self._add(piece)
        if self.current:
            yield self._close()

    def _tokens(self, text: str) -> int:
        return max(self.count_tokens(text) - self.per_call, len(text) // LONGEST_TOKEN)

    def _has_body(self) -> bool:
        return any(self.blocks[span.block].kind is not BlockKind.HEADING for span in self.current)

    def _fits(self, span: _Span) -> bool:
        return self.used + self._cost(span) <= self.limit or not self.current

    def _cost(self, span: _Span) -> int:
        """Tokens that the span adds: a block brings the gap before it, a piece has counted its own."""
        follows_a_block = bool(self.current) and self.current[-1].block != span.block
        return span.tokens + (self.gap if follows_a_block else 0)

    def _add(self, span: _Span) -> None:
        self.used += self._cost(span)
        self.current.append(span)

    def _close(self) -> list[_Span]:
        passage, self.current, self.used = self.current, [], 0
        return passage

    def _begin_with_overlap(self, piece: _Span, previous: list[_Span]) -> None:
        """Start the next passage with the last sentences of the same paragraph, as far as the overlap allows."""
        if self.blocks[piece.block].kind not in WITH_OVERLAP:
            return
        budget = min(self.overlap, self.limit - piece.tokens)
        repeated: list[_Span] = []
        for span in reversed(previous[1:]):
            budget -= span.tokens
            if span.block != piece.block or budget < 0:
                break
            repeated.append(span)
        for span in reversed(repeated):
            self._add(span)

    def _pieces(self, whole: _Span) -> Iterator[_Span]:
        """Sentences, rows or lines of a block; one that is over the limit itself is cut between words."""
        if self.blocks[whole.block].kind in BY_LINE:
            bounds = self._lines(whole.start, whole.end)
        else:
            found = split_sentences(self.text[whole.start : whole.end])
            bounds = ((whole.start + start, whole.start + end) for start, end in found)
        counted_to = whole.start
        for start, end in bounds:
            tokens = self._tokens(self.text[counted_to:end])
            piece = _Span(start, end, tokens, whole.block)
            for part in [piece] if tokens <= self.limit else self._words(piece, counted_to):
                yield part
                counted_to = part.end

    def _lines(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        while start < end:
            stop = self.text.find("\n", start, end)
            stop = end if stop < 0 else stop
            line = self.text[start:stop].rstrip()
            if line:
                yield start, start + len(line)
            start = stop + 1

    def _words(self, long: _Span, counted_to: int) -> Iterator[_Span]:
        """Cut between words, and inside a word that is over the limit itself."""
        start = long.start
        length = max(1, int((long.end - long.start) * self.limit / long.tokens * CUT_MARGIN))
        while start < long.end:
            stop = self._word_end(start, min(start + length, long.end), long.end)
            tokens = self._tokens(self.text[counted_to:stop])
            while tokens > self.limit and stop - start > 1:
                stop = self._word_end(start, start + max(1, (stop - start) * 2 // 3), long.end)
                tokens = self._tokens(self.text[counted_to:stop])
            yield _Span(start, stop, tokens, long.block)
            start = counted_to = stop
            while start < long.end and self.text[start].isspace():
                start += 1

    def _word_end(self, start: int, stop: int, end: int) -> int:
        """The last end of a word in the second half of text[start:stop], or stop."""
        if stop >= end or self.text[stop].isspace():
            return stop
        for position in range(stop - 1, start + (stop - start) // 2, -1):
            if self.text[position].isspace():
                return position
        return stop
