"""The report of one saga, for people: made from its records alone, the same bytes each time.

`facts` works the values out, `html` and `markdown` write the page, three modules draw.
"""

from coordinator.report.facts import ReportFacts, UnreadableRecords, facts_of
from coordinator.report.html import render_html
from coordinator.report.markdown import render_markdown
from coordinator.report.verification import Verification, verification_of

__all__ = [
    "ReportFacts",
    "UnreadableRecords",
    "Verification",
    "facts_of",
    "render_html",
    "render_markdown",
    "verification_of",
]
