"""HTML from parts. A text becomes HTML by escaping only, so no caption and no file name can break out."""

from html import escape


class Html(str):
    """Text that is HTML already. Only this module makes it, of escaped parts."""

    __slots__ = ()


def tag(name: str, *children: str, style: str = "") -> Html:
    """An element. Children that are not `Html` are texts."""
    inside = "".join(child if isinstance(child, Html) else escape(child) for child in children)
    styled = f' style="{escape(style)}"' if style else ""
    return Html(f"<{name}{styled}>{inside}</{name}>")


def image(uri: str, alt: str) -> Html:
    """A picture from a data URI, in its own size, or as wide as its place."""
    return Html(f'<img src="{escape(uri)}" alt="{escape(alt)}" style="max-width:100%;height:auto;border-radius:4px">')
