"""`/`: a page to try the models on, for people. It is plain files of the package, and asks `/v1` as any client does.

A browser that opens it asks no other host for anything, and is told so by the policy.
"""

from fastapi import APIRouter, Request, Response

from blip_serve.api.static_files import STATIC, StaticFiles
from blip_serve.settings import Settings

SOURCE = STATIC / "playground"
PICTURES = STATIC.parents[1] / "checkpoints" / "pictures"
PAGE_HTML = (SOURCE / "index.html").read_text(encoding="utf-8")
PAGE = "/"
OWN = {
    file.relative_to(SOURCE).as_posix(): file for file in sorted(SOURCE.rglob("*")) if file.suffix in (".css", ".js")
}
SAMPLES = {f"samples/{file.name}": file for file in sorted(PICTURES.iterdir())}
"""Pictures to try, and captions of them."""
FILES = StaticFiles.read("/playground", OWN | SAMPLES)
MODULES = "\n".join(f'<link rel="modulepreload" href="{{files}}/{name}">' for name in OWN if name.endswith(".js"))
"""All modules at once: else the browser would ask for each only after the one that imports it."""
PATHS = (PAGE, *FILES.paths)
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",  # a page that opens this one cannot change its address later
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # the page names its files by their content
}

router = APIRouter(include_in_schema=False)
FILES.add_to(router)


@router.get(PAGE)
async def page(request: Request) -> Response:
    """The page. It names its files relative to itself, so that it works below a proxy's prefix too."""
    docs = "" if _opens_docs(request.app.state.settings) else " hidden"
    html = PAGE_HTML.replace("{docs}", docs).replace("{modules}", MODULES)
    html = html.replace("{files}", FILES.below.removeprefix("/"))
    return Response(html, media_type="text/html", headers=HEADERS)


def _opens_docs(settings: Settings) -> bool:
    """Whether a browser may open `/docs`: it sends no key."""
    return settings.server.docs == "open" or (settings.server.docs == "key" and not settings.auth.asks)
