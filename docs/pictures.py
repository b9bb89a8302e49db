"""Draws the picture of the README: what `elman predict` shows on a terminal.

    python docs/pictures.py    write docs/predictions.svg
"""

import io
import re
from html import unescape
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

import elman
from elman.viz import terminal

PICTURE = Path(__file__).resolve().parent / "predictions.svg"
TEXT = "for i in range("

THEME = TerminalTheme(
    (250, 250, 247),
    (40, 42, 48),
    [(40, 42, 48), (178, 34, 52), (28, 120, 60), (168, 106, 0), (30, 80, 160), (130, 60, 140), (0, 110, 130), (90, 90, 90)],
)

# Rich's own template fetches a font from the network; this one takes what the reader has.
SVG = """<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>elman predict "for i in range("</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: {char_height}px }}
.{unique_id}-title {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 17px }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture(text: str = TEXT) -> str:
    """The terminal as SVG, with the model that ships."""
    with resources.as_file(resources.files("elman") / "models" / "default.safetensors") as path:
        model = elman.load(path)
    vocabulary = model.vocabulary
    assert vocabulary is not None
    tokens = vocabulary.encode(text)
    rows = terminal.positions(vocabulary, tokens, model.forward_propagation(tokens).probabilities, 5)
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="truecolor", legacy_windows=False)
    terminal.table(console, vocabulary, rows)
    drawn = console.export_svg(title=f'elman predict "{text}"', theme=THEME, code_format=SVG, unique_id="elman")
    return "\n".join(line.rstrip() for line in drawn.splitlines()) + "\n"


def words_of(svg: str) -> str:
    """What a picture says: the text in it, without its places and colours."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", part)) for part in re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL))


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
