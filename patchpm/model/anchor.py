"""Finding the anchor `system-start` in a chat template that nobody has seen before.

The template is a program, so it is asked rather than read: it renders probe conversations, and what comes out says
where the system text stands, whether there is a default one, and whether there is a system turn at all.
"""

from __future__ import annotations

from patchpm.errors import CannotError
from patchpm.model.causal_lm import Tokenizer
from patchpm.model.conversation import opening
from patchpm.model.prelude import Anchor, DefaultSystem

_SYSTEM = "patchpm-probe-system"
_USER = "patchpm-probe-user"
_SPACE = " \n "


def find_anchor(tokenizer: Tokenizer, template: str) -> Anchor:
    """Find where the system text starts in what `template` renders.

    Args:
        tokenizer: Whose special tokens the template may name.
        template: Jinja source.

    Returns:
        The start of the system text, or of the first user turn where the template has no system turn.

    Raises:
        CannotError: `anchor-not-found`.
    """
    if _split(opening(_SYSTEM, _USER).render(tokenizer, template), _SYSTEM) is None:
        return _user_anchor(tokenizer, template)
    default = _default(tokenizer, template)
    same = opening(_SYSTEM, _USER).render(tokenizer, template)
    developer = opening(_SYSTEM, _USER, role="developer").render(tokenizer, template) == same
    spaced = opening(_SPACE + _SYSTEM, _USER).render(tokenizer, template) or ""
    note = "" if default.in_base else "a conversation without a system text gets an empty system turn for the prefix"
    roles = ("system", "developer") if developer else ("system",)
    return Anchor(roles, default, strip=_SPACE + _SYSTEM not in spaced, note=note)


def _user_anchor(tokenizer: Tokenizer, template: str) -> Anchor:
    if _split(opening(None, _USER).render(tokenizer, template), _USER) is None:
        raise not_found("it renders neither the text of a system message nor that of a user message once")
    spaced = opening(None, _SPACE + _USER).render(tokenizer, template) or ""
    note = "the template has no system turn: the prefix stands at the start of the first user turn"
    return Anchor(("user",), None, strip=_SPACE + _USER not in spaced, note=note)


def _default(tokenizer: Tokenizer, template: str) -> DefaultSystem:
    """The system text that the template injects by itself."""
    found = {tools: _injected(tokenizer, template, tools=tools, other_day=False) for tools in (False, True)}
    for tools, text in found.items():
        if text != _injected(tokenizer, template, tools=tools, other_day=True):
            raise not_found("its default system text changes with the date, so it cannot be kept as it is")
    plain, with_tools = found[False], found[True]
    return DefaultSystem(
        plain or "", with_tools or "", in_base=plain is not None, in_base_with_tools=with_tools is not None
    )


def _injected(tokenizer: Tokenizer, template: str, *, tools: bool, other_day: bool) -> str | None:
    """What stands in the place of the system text when there is no system message, or None if the turn is missing."""
    given = opening(_SYSTEM, _USER, tools=tools).render(tokenizer, template, other_day=other_day)
    bare = opening(None, _USER, tools=tools).render(tokenizer, template, other_day=other_day)
    around = _split(given, _SYSTEM)
    if around is None or bare is None:
        return None
    before, after = around
    if len(bare) < len(before) + len(after) or not bare.startswith(before) or not bare.endswith(after):
        return None
    return bare[len(before) : len(bare) - len(after)]


def _split(text: str | None, word: str) -> tuple[str, str] | None:
    """What stands before and after the only occurrence of `word`."""
    if text is None or text.count(word) != 1:
        return None
    before, _, after = text.partition(word)
    return before, after


def not_found(why: str) -> CannotError:
    """The error for a template that patches cannot be anchored in."""
    return CannotError(
        "anchor-not-found",
        "no place for the patches was found in the chat template",
        why=why,
        next="use the base model's own chat template; if this is it, report it, since it is not supported yet",
    )
