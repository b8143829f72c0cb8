"""`heat.png`: a demonstration picture, and beside it the heat of some words of a caption."""

from PIL import Image, ImageDraw, ImageFont

from blip_serve import BlipServe
from blip_serve.catalogue import EMBEDDED
from blip_serve.heat import heated

NAME = "orange-cross-black-circle.png"
CAPTION = "an orange cross and a black circle"
WORDS = ["orange", "black", "circle"]
SIDE, GAP, LINE = 220, 12, 30
INK, GROUND = "#1c1f24", "white"


def draw() -> Image.Image:
    """The picture above its caption, and each word's heat above the word."""
    with Image.open(EMBEDDED / "pictures" / NAME) as opened:
        picture = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    with BlipServe() as blip:
        [explained] = blip.explain(picture, CAPTION).explanations
    maps = {word.word: word.map for word in explained.explanation.words}
    shown = [(CAPTION, picture), *((word, heated(picture, maps[word])) for word in WORDS)]
    drawn = Image.new("RGB", (len(shown) * (SIDE + GAP) - GAP, SIDE + LINE), GROUND)
    pen = ImageDraw.Draw(drawn)
    for i, (label, each) in enumerate(shown):
        left = i * (SIDE + GAP)
        drawn.paste(each, (left, 0))
        font = ImageFont.truetype("DejaVuSans.ttf", 12 if label == CAPTION else 16)
        pen.text((left + SIDE // 2, SIDE + LINE // 2), label, font=font, fill=INK, anchor="mm")
    return drawn
