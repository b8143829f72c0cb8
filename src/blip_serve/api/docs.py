"""`/docs`: a page of the OpenAPI document from which requests can be tried, and the document's introduction.

The page is Swagger UI (Apache-2.0), whose files ship in the package: a browser asks no other host for anything.
"""

from fastapi import APIRouter, Response

from blip_serve.api.static_files import STATIC, StaticFiles

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

SWAGGER = STATIC / "swagger-ui-5.35.0"
PAGE_HTML = (STATIC / "docs.html").read_text(encoding="utf-8")
PAGE, DOCUMENT = "/docs", "/openapi.json"
FILES = StaticFiles.read(
    PAGE,
    {
        "docs.js": STATIC / "docs.js",
        "swagger-ui.css": SWAGGER / "swagger-ui.css",
        "swagger-ui-bundle.js": SWAGGER / "swagger-ui-bundle.js",
    },
)
PATHS = (PAGE, DOCUMENT, *FILES.paths)
# Swagger UI sets styles on elements; scripts and requests are this service's.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

router = APIRouter(include_in_schema=False)
FILES.add_to(router)


@router.get(PAGE)
async def page() -> Response:
    """The page. It names its files relative to itself, so that it works below a proxy's prefix too."""
    html = PAGE_HTML.replace("{files}", FILES.below.removeprefix("/"))
    return Response(html, media_type="text/html", headers={"content-security-policy": POLICY})
