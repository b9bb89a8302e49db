"""The documentation runs: its code blocks, doctests, links, figures, and everything in it that is generated."""

import doctest
import importlib
import json
import pkgutil
import re
import sys
import tomllib
from pathlib import Path

import pytest
from safetensors import safe_open

import elman
from elman.gates import GATES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import pictures  # noqa: E402
import reference  # noqa: E402

README = ROOT / "README.md"
MODEL = Path(elman.__file__).parent / "models" / "default.safetensors"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MODULES = sorted(found.name for found in pkgutil.walk_packages(elman.__path__, "elman.") if found.name != "elman.__main__")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def assert_current(path: Path, new: str) -> None:
    old = path.read_text(encoding="utf-8")
    if not reference.alike(old, new):
        pytest.fail(f"run python docs/reference.py\n{reference.difference(old, new, path.name)}", pytrace=False)


# ---------------------------------------------------------------- what runs, and what is generated


@pytest.mark.parametrize("document", reference.DOCUMENTS, ids=lambda path: path.name)
def test_code_blocks_print_what_is_shown(document):
    assert_current(document, reference.current(document))


def test_command_reference_is_current():
    assert reference.command_is_current(reference.COMMAND.read_text(encoding="utf-8")), "run python docs/reference.py"


def test_picture_is_current():
    old, new = pictures.PICTURE.read_text(encoding="utf-8"), pictures.picture()
    assert reference.alike(pictures.words_of(old), pictures.words_of(new)), "run python docs/reference.py"


def test_picture_names_nothing_on_the_network():
    urls = set(re.findall(r"https?://[^\"' )]+", pictures.PICTURE.read_text(encoding="utf-8")))
    assert urls == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("module", ["elman", *MODULES])
def test_doctests(module):
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_there_are_doctests():
    found = {name: doctest.DocTestFinder().find(importlib.import_module(name)) for name in MODULES}
    examples = {name: sum(len(case.examples) for case in cases) for name, cases in found.items()}
    for name in ("elman.gates", "elman.trace", "elman.rnn", "elman.model", "elman.states", "elman.text"):
        assert examples[name] > 0, name


# ---------------------------------------------------------------- what is listed is all there is


def gates_of(text: str) -> set[str]:
    """The gates that an operation becomes when it stands in a cell as the list writes it."""
    text = text.replace(", ...", "").replace("start:stop", "1:3").replace("transpose(x)", "transpose(w)")
    known = {name: getattr(elman, name) for name in elman.__all__}
    letters = 'x1=bias("input"), x2=bias("input"), condition=bias("input"), w=weight("hidden", "input")'
    exec(f"def written(x, *, {letters}):\n    return {text}", known)
    return {node.gate for node in elman.cell(known["written"]).graph(input=5, hidden=3).nodes}


def test_every_operation_is_listed_and_can_be_written():
    listed = {name: reference.written_as(name) for name in GATES if name not in reference.UNWRITTEN}
    table = reference.operations()
    assert table in (ROOT / "docs" / "article.md").read_text(encoding="utf-8")
    for name, text in listed.items():
        assert f"| `{text}` |" in table
        assert name in gates_of(text), text
    for name in reference.UNWRITTEN:
        assert not hasattr(elman, name), f"{name} can be written: list it"


def test_every_variable_of_the_environment_is_listed():
    text = reference.COMMAND.read_text(encoding="utf-8")
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py"))
    assert set(re.findall(r"\bELMAN_[A-Z]+", code)) == set(re.findall(r"\| `(ELMAN_[A-Z]+)` \|", text))


# ---------------------------------------------------------------- the checks can fail


def blocks(tmp_path: Path, text: str) -> str:
    page = tmp_path / "page.md"
    page.write_text(text)
    return reference.Blocks(page).run()


PAGE = """Some code.

```python
x = 2 ** 0.5
print("root", x)

print(4 ** 0.5, "done")
```

```text
root 1.4142135623730951

2.0 done
```
"""


def test_a_block_is_compared_with_what_it_prints(tmp_path):
    new = blocks(tmp_path, PAGE)
    assert reference.alike(new, PAGE)
    for right, wrong in (
        ("done\n```\n", "gone\n```\n"),
        ("root 1.4", "root 1.5"),
        ("root 1", "root -1"),
        ("0951", "0953"),
        ("2.0", "2.1"),
    ):
        assert not reference.alike(new, PAGE.replace(right, wrong)), wrong
    assert reference.alike(new, PAGE.replace("0951", "0950"))


def test_what_is_printed_must_be_shown(tmp_path):
    with pytest.raises(AssertionError, match="no text block shows"):
        blocks(tmp_path, PAGE.partition("```text")[0])
    with pytest.raises(AssertionError, match="nothing was printed"):
        blocks(tmp_path, PAGE + "\n```text\nmore\n```\n")


def test_a_block_that_raises_is_noticed(tmp_path):
    with pytest.raises(ZeroDivisionError):
        blocks(tmp_path, "```python\n1 / 0\n```\n")


def test_a_command_that_fails_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match=r"page.md, line 1: exit code 2\n.*no such file"):
        blocks(tmp_path, '```bash\nelman show no.safetensors && echo "after"\n```\n')


def test_commands_of_a_block_run(tmp_path):
    page = '```bash\npip install . && elman predict --top 1 "ab" | tail -1\n```\n\n```text\n```\n'
    assert re.search(r"```text\n\d+\.\d+ bits per character.* over 1 symbols\n```", blocks(tmp_path, page))


def test_a_shortened_training_is_short(tmp_path):
    commands = "elman train docs -o m.safetensors --suffix .md\nelman show m.safetensors\n"
    shown = blocks(tmp_path, f"<!-- shortened: --steps 2 --hidden 4 -->\n```bash\n{commands}```\n\n```text\n```\n")
    assert "updates: 2\n" in shown
    assert "h (hidden=4)" in shown


def test_the_command_reference_can_be_out_of_date():
    text = reference.COMMAND.read_text(encoding="utf-8")
    assert not reference.command_is_current(text.replace("Text to read", "Text"))
    elsewhere = re.sub(r"with Typer [^;]+;", "with Typer 0.0.1;", text).replace("<path>", "PATH").replace("  ", " ")
    assert reference.command_is_current(elsewhere)
    assert not reference.command_is_current(elsewhere.replace("--top-k", "--best"))
    assert not reference.command_is_current(elsewhere.replace("Text to read", "Text"))


# ---------------------------------------------------------------- README


def test_readme_has_its_two_commands():
    blocks = re.findall(r"```bash\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks[0] == 'pip install . && elman predict "for i in range("\n'
    assert blocks[1] == 'pip install ".[test]" && pytest\n'


def test_readme_tells_the_facts_of_the_model_that_ships():
    """Read from the file without the library, so that generator and test are two."""
    with safe_open(str(MODEL), framework="numpy") as file:
        facts = json.loads(file.metadata()["elman"])
        count = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows["validation"] == f"{facts['training']['validation_bits_per_character']:.3f} bits per character"
    assert rows["a bigram model on the same text"].startswith(f"{facts['training']['bigram_bits_per_character']:.3f} ")
    assert rows["parameters"] == f"{count:,}"
    assert rows["file"] == f"{MODEL.stat().st_size:,} bytes, weights as {facts['stored']}"
    assert (
        rows["cell"]
        == f"{facts['layers']['graph']['name']}, hidden {facts['layers']['graph']['sizes']['hidden']}, {facts['dtype']}"
    )
    recipe = facts["training"]["recipe"]
    assert rows["recipe"] == f"`python {recipe} RUN src/elman/models/default.safetensors`"
    assert (ROOT / recipe).is_file()


def test_the_model_that_ships_is_small_and_beats_the_bigram_model():
    training = elman.load(MODEL).training
    assert MODEL.stat().st_size <= 2_000_000
    assert training["validation_bits_per_character"] < 0.75 * training["bigram_bits_per_character"]


# ---------------------------------------------------------------- what the pages name exists


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        assert not path.startswith("http"), f"{target}: pages here lead to files here"
        found = page.parent / path if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


@every_page
def test_files_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:src|tests|docs|recipes|benchmarks|examples)/[\w./-]*)`", text):
        assert (ROOT / name).exists(), name


def test_every_dependency_has_a_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"to run": project["project"]["dependencies"], "to build": project["build-system"]["requires"]}
    groups |= {f"elman[{name}]": wanted for name, wanted in project["project"]["optional-dependencies"].items()}
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Dependencies")[2]
    tables = [table for table in text.split("\n\n") if table.startswith("|")]
    for group, wanted in groups.items():
        [table] = [table for table in tables if group in table]
        reasons = [row.split("|")[1:3] for row in table.splitlines() if row.startswith("| `")]
        named = {name for cell, reason in reasons if len(reason) > 10 for name in re.findall(r"`([\w-]+)`", cell)}
        assert named == {re.match(r"[\w-]+", requirement)[0] for requirement in wanted}, group


def test_the_changelog_begins_with_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    first = re.search(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert project["version"] == elman.__version__ == first[1]
