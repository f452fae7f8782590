from __future__ import annotations

import re

import pytest

from patchpm.export import provenance
from patchpm.guard import reference_json
from patchpm.patch.release import MAX_BYTES as FILE_BYTES
from patchpm.trust.tuf_metadata import MAX_BYTES as METADATA_BYTES
from tests.schema.formats import FOLDER

README = (FOLDER / "README.md").read_text("utf-8")


def test_the_client_in_the_readme_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    blocks = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    assert not any("patchpm." in line for line in "".join(blocks).splitlines() if "import" in line)
    exec(compile("\n".join(blocks), "README.md", "exec"), {})


def test_the_readme_names_every_schema_and_every_folder_of_vectors() -> None:
    folders = [f"vectors/{path.name}/" for path in (FOLDER / "vectors").iterdir() if path.is_dir()]
    of_formats = {f"vectors/{path.name.split('.')[0]}/" for path in FOLDER.glob("*.schema.json")}
    assert all(name in README for name in folders if name not in of_formats)
    assert all(f"`{path.name}`" in README for path in FOLDER.glob("*.schema.json"))


@pytest.mark.parametrize(("name", "size"), [*FILE_BYTES.items(), *METADATA_BYTES.items()])
def test_the_readme_knows_how_large_a_file_may_be(name: str, size: int) -> None:
    written = f"{size // 2**20} MiB" if size >= 2**20 else f"{size // 2**10} KiB"
    row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`") and line.endswith("iB |"))
    assert row.endswith(f"| {written} |")


@pytest.mark.parametrize(
    ("heading", "size"), [("An exported model", provenance.MAX_BYTES), ("Probes", reference_json.MAX_BYTES)]
)
def test_a_section_says_how_large_its_file_may_be(heading: str, size: int) -> None:
    section = next(text for text in README.split("\n## ") if text.splitlines()[0].endswith(heading))
    assert f"JSON, at most {size // 2**20} MiB" in section
