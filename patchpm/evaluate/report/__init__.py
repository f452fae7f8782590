"""The page that a person opens to decide about a patch: one HTML file that needs nothing else.

It may hold anything that a model or an attacker wrote, so nothing of it is trusted: every text is escaped, the page
has no script, and its content security policy allows its own style sheet and nothing more.
"""

from __future__ import annotations

from patchpm.evaluate.report.page import write_report

__all__ = ["write_report"]
