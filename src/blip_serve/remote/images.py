"""An image of a request as its place in a JSON body."""

from copy import copy

import pybase64

from blip_serve.images.reference import Base64Image, BytesImage, ImageSource, UnreadableImage, UrlImage


def address_of(image: ImageSource) -> str:
    """A URL or a data URI, whose bytes show the format. Raises the error of an image that could not be read."""
    match image:
        case UrlImage(url):
            return url
        case Base64Image(text):
            return f"data:image/any;base64,{text}"
        case BytesImage(data):
            return "data:image/any;base64," + pybase64.b64encode(data).decode()
        case UnreadableImage(error):
            raise copy(error)
