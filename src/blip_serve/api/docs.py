"""`/docs`: a page of the OpenAPI document from which requests can be tried, and the document's introduction.

The page is Swagger UI (Apache-2.0), whose files ship in the package: a browser asks no other host for anything.
"""

from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, HTTPException, Response

INTRODUCTION = """\
Scores how well images and captions match, writes captions, answers questions, embeds and ranks, with BLIP models.

**An image** is, everywhere, a data URI (`data:image/png;base64,...`), an `http(s)://` URL, bare base64, or an object
with one of these (`{"url": ...}`). A file itself goes to `/v1/match` as a form: `curl -F image=@picture.png`.

**A model** is named by its id or an alias; `GET /v1/models` lists them, with what each is for. Without a name the
configured default answers.

**A key**, where the service asks for one, is sent as `Authorization: Bearer <key>`: the button *Authorize* below.

**An error** is `{"error": {"message", "type", "param", "code"}}`; `param` is the field at fault.
"""
MATCHING, WRITING, DECISIONS = "Matching", "Captions and answers", "Decisions"
EMBEDDING, MODELS, OPERATION = "Embeddings and ranking", "Models", "Operation"
TAGS = [
    {"name": MATCHING, "description": "How well images and texts fit: probability of a match, and cosine."},
    {"name": WRITING, "description": "Texts about an image, through OpenAI's chat completions and responses."},
    {"name": DECISIONS, "description": "Typed questions about an image, answered with probabilities."},
    {"name": EMBEDDING, "description": "Unit vectors of images and texts in one space, and their order by a query."},
    {"name": MODELS, "description": "What is served, what it is for, and whether it is loaded."},
    {"name": OPERATION, "description": "For whoever runs the service: probes and metrics."},
]
"""The groups of the endpoints, in the page's order."""

STATIC = Path(__file__).parent / "static"
PAGE_HTML = (STATIC / "docs.html").read_text(encoding="utf-8")
FILES = {
    file.name: file.read_bytes()
    for file in (
        STATIC / "docs.js",
        STATIC / "swagger-ui-5.35.0" / "swagger-ui.css",
        STATIC / "swagger-ui-5.35.0" / "swagger-ui-bundle.js",
    )
}
"""The files that the page loads, by name."""
PAGE, DOCUMENT = "/docs", "/openapi.json"
BELOW = f"{PAGE}/{sha256(b''.join(FILES.values())).hexdigest()[:16]}"
"""The path of the files. It changes with their content, so that a browser may cache them for good."""
PATHS = (PAGE, DOCUMENT, *(f"{BELOW}/{name}" for name in FILES))
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}
# Swagger UI sets styles on elements; scripts and requests are this service's.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)


@router.get(PAGE)
async def page() -> Response:
    """The page. It names its files relative to itself, so that it works below a proxy's prefix too."""
    html = PAGE_HTML.replace("{files}", BELOW.removeprefix("/"))
    return Response(html, media_type="text/html", headers={"content-security-policy": POLICY})


@router.get(BELOW + "/{name}")
async def file(name: str) -> Response:
    """A file that the page loads."""
    if name not in FILES:
        raise HTTPException(404)
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(FILES[name], media_type=MEDIA_TYPES[Path(name).suffix], headers=headers)
