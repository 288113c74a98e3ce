"""The frame of a page that stands alone: one file without scripts, safe to open, send and archive.

What comes from outside is escaped by `text`; pictures are PNG in `data:` URLs, and a content security policy forbids
all else.
"""

import base64
from html import escape
from string import Template
from typing import Final

from poisonsets.manifests.files import png
from poisonsets.manifests.files.pixels import Images
from poisonsets.manifests.spelling import printable

_DOCUMENT: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$body
</body>
</html>
""")


def document(title: str, style: str, body: str) -> str:
    """A whole page, of a title and a body in markup and a style sheet that ends in a line break."""
    return _DOCUMENT.substitute(title=title, style=style, body=body)


def text(value: str, most: int = 400) -> str:
    """Plain text as markup: one line, without control characters, at most so many characters before escaping."""
    return escape(printable(value, most))


def figure(image: Images, caption: str, width: int, height: int) -> str:
    """An image uint8 [H, W, 3] shown at a size, with a caption in markup, which also stands in for it."""
    data = base64.b64encode(png.encode(image)).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}" width="{width}" height="{height}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
