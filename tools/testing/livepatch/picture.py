#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draw what a terminal has shown, as an SVG.

Usage: picture.py TRANSCRIPT SVG

Lines that begin with "# " are commands, and bright. Lines that are too long are folded, as
a terminal does it.
"""

import pathlib
import sys
from xml.sax.saxutils import escape

COLUMNS, SIZE, HEIGHT, WIDTH, MARGIN = 100, 13, 18, 7.83, 16


def lines(text):
    """The rows of the terminal, each with whether it is a command."""
    for line in text.rstrip().expandtabs().splitlines():
        is_command = line.startswith("# ")
        for start in range(0, max(len(line), 1), COLUMNS):
            yield line[start : start + COLUMNS], is_command


def draw(text):
    rows = list(lines(text))
    width = COLUMNS * WIDTH + 2 * MARGIN
    height = len(rows) * HEIGHT + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}">',
        "<title>klp, the tool for administrators</title>",
        f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#1c2128"/>',
        f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="{SIZE}" xml:space="preserve">',
    ]
    for number, (row, is_command) in enumerate(rows):
        if row:
            y = MARGIN + (number + 0.75) * HEIGHT
            color = "#e6edf3" if is_command else "#9da7b3"
            weight = ' font-weight="bold"' if is_command else ""
            out.append(
                f'<text x="{MARGIN}" y="{y:g}" fill="{color}"{weight} '
                f'textLength="{len(row) * WIDTH:.2f}">{escape(row)}</text>'
            )
    return "\n".join(out + ["</g>", "</svg>", ""])


def main():
    transcript, picture = map(pathlib.Path, sys.argv[1:])
    picture.write_text(draw(transcript.read_text()))


if __name__ == "__main__":
    main()
