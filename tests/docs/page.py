"""A page of the documentation: its links, and the steps that a reader would carry out.

A block marked `console` holds commands and what they print:

    $ patchpm lock --check      # exit code 3
    error: ...

A line with `$ ` is a command, a line with `> ` goes on with it, the rest is its output. In output, `...` stands for
anything within a line, and alone on a line for any lines. A command without output may print anything. A block marked
`python` is a program. Blocks of any other kind are not run. Comments in the page say what it starts from:

    <!-- needs: real base -->       SmolLM2-135M-Instruct is converted already
    <!-- given: project -->         see `tests.docs.givens`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)$")
_EXIT_CODE = re.compile(r"#\s*exit code (\d+)\s*$")
_NEEDS = re.compile(r"^<!-- needs: real base -->$", re.MULTILINE)
_GIVEN = re.compile(r"^<!-- given: ([a-z -]+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """One command, or one program."""

    line: int
    """Where in the page it stands."""
    command: str
    """What bash is given."""
    output: tuple[str, ...]
    """What the page shows; empty where it shows nothing."""
    exit_code: int


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Page:
        """Read a page."""
        return cls(path, path.read_text("utf-8"))

    @property
    def is_real(self) -> bool:
        """Whether it needs the converted base model."""
        return _NEEDS.search(self.text) is not None

    @property
    def givens(self) -> tuple[str, ...]:
        """What is there before its first step."""
        return tuple(_GIVEN.findall(self.text))

    @property
    def links(self) -> tuple[str, ...]:
        """Where it links to, outside of code."""
        return tuple(_LINK.findall(_without_code(self.text)))

    @property
    def anchors(self) -> frozenset[str]:
        """The headings, as links name them."""
        return frozenset(_slug(heading) for heading in _HEADING.findall(_without_blocks(self.text)))

    def steps(self) -> list[Step]:
        """The steps, in order."""
        return [step for kind, line, body in _blocks(self.text) for step in _steps_of(kind, line, body)]


def _blocks(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Kind, line number and lines of every fenced block."""
    kind: str | None = None
    body: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if fence is None:
            body.append(line)
        elif kind is None:
            kind, body, start = fence[1], [], number + 1
        else:
            yield kind, start, body
            kind = None
    assert kind is None, "a block is not closed"


def _steps_of(kind: str, start: int, body: list[str]) -> Iterator[Step]:
    if kind == "python":
        program = "\n".join(["python - <<'END'", *body, "END"])
        yield Step(start, program, (), 0)
    if kind != "console":
        return
    found: list[tuple[int, list[str], list[str]]] = []
    for number, line in enumerate(body, start=start):
        if line.startswith("$ "):
            found.append((number, [line.removeprefix("$ ")], []))
        elif line.startswith("> ") and found and not found[-1][2]:
            found[-1][1].append(line.removeprefix("> "))
        else:
            assert found, f"line {number}: output before any command"
            found[-1][2].append(line)
    for number, command, output in found:
        ending = _EXIT_CODE.search(command[0])
        yield Step(number, "\n".join(command), tuple(output), int(ending[1]) if ending else 0)


def _without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", lambda match: match[0] if match[0].startswith("`](") else "", _without_blocks(text))


def _slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
