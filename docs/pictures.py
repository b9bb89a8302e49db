"""Draws the picture of the README, docs/predictions.svg: what `elman predict` shows on a terminal.

Run it as `python docs/pictures.py`; `python docs/reference.py` runs it as well, where the picture is out of date.
"""

import io
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

import elman

PICTURE = Path(__file__).resolve().parent / "predictions.svg"
TEXT = "for i in range("
WIDTH = 80

THEME = TerminalTheme(
    (250, 250, 247),
    (40, 42, 48),
    [(40, 42, 48), (178, 34, 52), (28, 120, 60), (168, 106, 0), (30, 80, 160), (130, 60, 140), (0, 110, 130), (90, 90, 90)],
)  # fmt: skip

# Rich's own template fetches a font from the network; this one takes what the reader has, and keeps leading blanks.
FONT = 'font-family: ui-monospace, Menlo, "DejaVu Sans Mono", Consolas, monospace'
SVG = f"""<svg viewBox="0 0 {{width}} {{height}}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>What elman predict shows on a terminal</title>
<style>
.{{unique_id}}-matrix {{{{ {FONT}; font-size: {{char_height}}px }}}}
.{{unique_id}}-title {{{{ {FONT}; font-size: 17px }}}}
{{styles}}
</style>
<defs>
<clipPath id="{{unique_id}}-clip-terminal">
<rect x="0" y="0" width="{{terminal_width}}" height="{{terminal_height}}"/>
</clipPath>
{{lines}}
</defs>
{{chrome}}
<g transform="translate({{terminal_x}}, {{terminal_y}})" clip-path="url(#{{unique_id}}-clip-terminal)">
{{backgrounds}}
<g class="{{unique_id}}-matrix" xml:space="preserve">
{{matrix}}
</g>
</g>
</svg>
"""


def picture(text: str = TEXT) -> str:
    """What the command prints for a text with the model that ships, in colour, as SVG."""
    here = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(WIDTH)}
    here |= {"PYTHONUTF8": "1", "PYTHONPATH": str(Path(elman.__file__).parent.parent)}
    here.pop("NO_COLOR", None)
    done = subprocess.run(
        [sys.executable, "-m", "elman", "predict", text], env=here, capture_output=True, encoding="utf-8", check=True
    )
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(done.stdout.rstrip()), end="")
    title = f'elman predict "{text}"'
    drawn = console.export_svg(title=title, theme=THEME, code_format=SVG, font_aspect_ratio=0.602, unique_id="elman")
    lines = drawn.replace("</text>", "</text>\n").splitlines()
    return "\n".join(line.strip() for line in lines if line.strip()) + "\n"


def words_of(svg: str) -> str:
    """What a picture says: the text in it, without its places and colours."""
    return " ".join(unescape(text) for text in re.findall(r"(?s)<text[^>]*>(.*?)</text>", svg))


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(picture(), encoding="utf-8")


if __name__ == "__main__":
    main()
