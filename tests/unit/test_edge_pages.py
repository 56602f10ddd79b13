"""The playground's files: they fit the policy they are served with."""

import re
from pathlib import Path

import pytest

from edge.api.pages import POLICY, STATIC

FILES = sorted(STATIC.iterdir())
MODULES = [path for path in FILES if path.suffix == ".js"]
MARKUP_FROM_TEXT = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
IMPORT = re.compile(r'^import .* from "(.+)";$', re.MULTILINE)
PAGE_FILE = re.compile(r'(?:href|src)="(/static/[^"]+)"')


def test_nothing_but_this_server_is_allowed() -> None:
    """A recording held in memory (blob:) is the one exception."""
    sources = {source for directive in POLICY.split("; ") for source in directive.split()[1:]}
    assert sources == {"'self'", "'none'", "blob:"}
    assert "blob:" not in POLICY.replace("media-src 'self' blob:", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_reaches_out_or_makes_markup_from_text(path: Path) -> None:
    text = path.read_text()
    assert not MARKUP_FROM_TEXT.search(text)
    assert "//" not in re.sub(r"(^|\s)//.*|http://www\.w3\.org/2000/svg|https?://(localhost)?[^\w]", "", text)
    assert len(text.splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_modules_that_are_there(path: Path) -> None:
    for name in IMPORT.findall(path.read_text()):
        assert (STATIC / name).is_file(), f"{path.name} imports {name}"


def test_the_page_names_files_that_are_there_and_runs_nothing_inline() -> None:
    page = (STATIC / "index.html").read_text()
    for name in PAGE_FILE.findall(page):
        assert (STATIC / name.removeprefix("/static/")).is_file()
    assert not re.search(r'\son\w+="|\sstyle="|<style', page)
    assert re.findall(r"<script([^>]*)>", page) == [' type="module" src="/static/app.js"']
