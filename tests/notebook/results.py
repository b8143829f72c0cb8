"""What all results of the tests share, and a reader of their HTML."""

import base64
import io
from html.parser import HTMLParser

from PIL import Image

from blip_serve.tasks.request import Served, Timings, Usage

SERVED = Served(
    model="demo",
    protocol="hf",
    service_tier="default",
    usage=Usage(0, 0, 0),
    timings=Timings(0, 0, 0, 0),
)
ELEMENTS = {"div", "span", "b", "figure", "figcaption", "img", "table", "tr", "th", "td"}


class Page(HTMLParser):
    """HTML of a result, read as a browser would. `text`: all its text. `alts`: the descriptions of its pictures.

    Fails at any element or attribute that is not to be there, and at one that is not closed.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.alts: list[str] = []
        self.pictures: list[Image.Image] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS
        given = dict(attrs)
        assert set(given) <= ({"src", "alt", "style"} if tag == "img" else {"style"})
        assert "url" not in (given.get("style") or "")
        if tag != "img":
            self._open.append(tag)
            return
        head, _, body = (given["src"] or "").partition(",")
        assert head == "data:image/jpeg;base64"
        self.alts.append(given["alt"] or "")
        self.pictures.append(Image.open(io.BytesIO(base64.b64decode(body, validate=True))))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"
