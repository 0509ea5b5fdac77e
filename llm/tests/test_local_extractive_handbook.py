"""The extractive answerer on the shipped handbook, which it was not calibrated on, through the real parsers."""

import re
from collections.abc import Sequence

import pytest

from knowledge.ingestion.chunking import StructureChunker
from knowledge.ingestion.parsers.markdown import MarkdownParser
from knowledge.ingestion.parsers.pdf import PdfParser
from knowledge.seeds import FILES
from llm.providers.local import embedding
from llm.providers.local.calibration.retrieval import Index
from llm.providers.local.calibration.sets import Passage
from llm.providers.local.extractive.answerer import compose
from plugins.contracts import ChunkingProfile, Grounding, GroundingPassage
from rag.seeds import SAMPLES

# What the answers to the questions that the interface offers have to say.
SAMPLE_ANSWERS = ["30 days of annual leave", "Germany 125 euros", "Report loss or theft", "three days a week"]

# A question and words of the passage that answers it, without punctuation.
ANSWERED = """
By when do carried-over leave days expire? | they expire on 31 March
How long does my team lead have to answer a leave request? | three working days. No answer
For what reasons can my leave request be refused? | fewer than half of the team
Do I lose leave days when I get sick on vacation? | do not count as leave if you send
How long can a sabbatical at Lindenhof be? | three and six months
How many extra days off do I get for my wedding? | Your own wedding
When was the company founded? | 4 May 1987
How many people work in the workshop? | Builds, calibrates and repairs
On what day are salaries paid? | 25th of each month
How much does the company add to my pension? | adds 20 %
How much is a meal voucher worth? | voucher of 7.50 euros
How often does a new edition of the handbook appear? | New editions appear on 1 January
What number do I dial for IT help? | 4357
How long is the probation period? | Probation lasts
Until when do I have to finish the security training? | second week
What does RMA mean? | Return of an instrument for repair
How accurate is the MB-7? | resolution of 0.1 micrograms
How much is the learning budget? | 1,200 euros and five working days
Can I spend my learning budget on language courses? | language lessons
After how many years is my laptop replaced? | Laptop | 4 years
My laptop was stolen, what do I have to do? | Report loss or theft
Can I keep using my phone privately? | private use of laptop and phone
For how long can I borrow a measuring instrument? | 14 days
What is the value up to which I can accept a gift? | up to 35 euros
How can I report misconduct anonymously? | report without your name
How many hours may I work in a second job? | 8 hours a week
How long are calibration records kept? | ten years
What is the address of the Bristol office? | 7 Lime Yard
Where is the assembly point in Munich? | assembly point
What colour is a visitor's badge? | green badge
Who do I call when the lift is stuck? | Building emergency
Until when must I report sick on the first day? | before 9:00
When do I need a medical certificate? | fourth calendar day
How long is parental leave? | 36 months
How many days off do I get if my child is ill? | 15 working days
How many days a week may I work from home? | three days a week
How much money do I get for working from home? | 40 euros a month
From which countries may I work abroad? | countries of the European Union
How long is a full working week? | 38.5 hours
What is paid for on-call duty? | 180 euros a week
When is core time on Fridays? | Core time, Friday
How is overtime paid out? | supplement of 25 %
How many hours of rest must lie between two working days? | eleven hours
What does the HX-40 cost? | 480 euros
How long is the warranty of the TG-2? | 1 250 euros 3 years
How many days of holiday do part-time employees with four days a week get? | 4 24
How much does the company pay per kilometre for my own car? | 0.38 euros
Until when must I hand in my travel expenses? | within 30 days after the trip
How many characters must a password have? | At least 14 characters
How much may a guest dinner cost per person? | Up to 60 euros a person
How do I report a phishing mail? | Report message
How often are the files on the share backed up? | backed up every night
"""

NEAR = """
How much is the company car allowance?
Does the company offer a gym membership?
Who is the chief executive of Lindenhof Instruments?
What is the dress code?
How do I apply for a promotion?
Is there a kindergarten at the Munich office?
How much do interns earn?
Can I bring my dog to the office?
What is the bonus for recruiting a new colleague?
What is the wifi password for guests?
When is the summer party?
How many shares can employees buy?
Who won the last football world championship?
What is the retirement age?
How do I get a parking permit in Hamburg?
"""


@pytest.fixture(scope="module")
def handbook() -> Index:
    passages = []
    for path in sorted(FILES.iterdir()):
        parser = PdfParser() if path.suffix == ".pdf" else MarkdownParser()
        parsed = parser.parse(path)
        for chunk in StructureChunker().chunk(parsed, ChunkingProfile(), embedding.count_tokens).chunks:
            title = parsed.title or path.stem
            name = f"{path.name} {chunk.ordinal}"
            passages.append(Passage(path.name, frozenset({name}), title, tuple(chunk.heading_path), chunk.text))
    return Index(passages)


def grounding_of(question: str, passages: Sequence[Passage]) -> Grounding:
    numbered = (GroundingPassage(n, one.text, one.title, one.heading_path) for n, one in enumerate(passages, 1))
    return Grounding(question, tuple(numbered))


def words(text: str) -> str:
    return re.sub(r"\W+", " ", text.replace("*", "")).strip()


@pytest.mark.parametrize(("question", "expected"), list(zip(SAMPLES, SAMPLE_ANSWERS, strict=True)))
def test_sample_questions_of_the_handbook_are_answered_right(handbook, question, expected):
    answer = compose(grounding_of(question, handbook.search(question)))

    assert answer is not None
    assert expected in answer


def test_annual_leave_comes_before_unpaid_leave(handbook):
    answer = compose(grounding_of(SAMPLES[0], handbook.search(SAMPLES[0])))

    assert answer is not None
    assert answer.startswith("Every full-time employee has 30 days of annual leave")


@pytest.mark.exhaustive
def test_handbook_is_cited_where_it_answers_and_near_questions_are_refused(handbook):
    found = cited = 0
    for row in ANSWERED.strip().splitlines():
        question, expected = row.split(" | ", 1)
        passages = handbook.search(question)
        gold = {n for n, one in enumerate(passages, 1) if words(expected) in words(one.text)}
        found += bool(gold)
        answer = compose(grounding_of(question, passages)) or ""
        cited += bool(gold & {int(marker) for marker in re.findall(r"\[(\d+)\]", answer)})
    near = NEAR.strip().splitlines()
    answered = [question for question in near if compose(grounding_of(question, handbook.search(question)))]

    assert found > 50
    assert cited >= 0.85 * found, f"{cited} of {found}"
    assert len(answered) <= 0.15 * len(near), answered
