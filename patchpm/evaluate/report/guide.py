"""How to read the page, and what it cannot say."""

from __future__ import annotations

_GUIDE = """<section class="chapter guide"><div><h2>How to read this</h2><dl>
<div><dt>Interval</dt>
<dd>Intervals made this way hold the true figure, over all prompts of the kind, 19 times of 20.
Few prompts give wide intervals.</dd></div>
<div><dt>Change</dt>
<dd>The difference is taken on the same items with and without the patch, so its interval is often the
narrower one. <b>Better</b> and <b>worse</b> mean that it excludes 0; they do not say how much that matters.
<b>No clear change</b> means that it does not: that is no proof of no change. Among twenty rows, one may exclude 0 by
chance.</dd></div>
<div><dt>Share left</dt>
<dd>(base &minus; set) / (base &minus; patch alone). A ratio of measured figures, as uncertain as
they are; where the patch alone does little, it says little.</dd></div>
</dl></div><div><h2>Limits</h2><ul>
<li>Words are counted, meaning is not: refusals are found by their wording, toxicity is scored by a small classifier. A
reply that apologises and then helps counts as a refusal; one that evades politely does not. Read the samples.</li>
<li>The figures hold for this base model and its weights, this place of the patch and these prompts. Another base, a
quantised copy or another system text needs its own measurement.</li>
<li>Nothing here was measured against someone who tries to get around the patch.</li>
<li>A signature says who made or measured a patch, never that it is harmless.</li>
</ul></div></section>"""


def guide() -> str:
    """The last chapter; the same on every page."""
    return _GUIDE
