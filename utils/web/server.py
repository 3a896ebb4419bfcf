"""The app's server: loopback alone, the app's own pages, and nothing that a page elsewhere could ask of it."""

import logging
import os
import socket
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from utils.errors import UserError
from utils.messages import _
from utils.web.projects import is_name, open_project, page_file

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")
UPLOADS = ".uploads"  # in the app's folder
LARGEST_UPLOAD = "1gb"
# No page of the app runs or fetches what is not of the app; Gradio makes functions of text.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; img-src 'self' data: blob:; worker-src 'self' blob:; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)


class Guard:
    """Refuses what does not come from a page of this server, as a page elsewhere or a name that leads here might."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if not is_from_here(headers, scope.get("method", "GET")):
            from starlette.responses import PlainTextResponse

            await PlainTextResponse("only for pages of this app", 403)(scope, receive, send)
            return

        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"content-security-policy", POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, send_with_policy)


def is_from_here(headers: dict[str, str], method: str) -> bool:
    """Whether a request is of a page of this server, or typed into the address bar."""
    host = headers.get("host", "")
    if urlsplit(f"//{host}").hostname not in NAMES:
        return False
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return False
    is_navigation = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin") or is_navigation


def make_app(folder: Path) -> Any:
    """The server's application: the pages of the projects, and the app itself."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(folder / UPLOADS)
    import gradio
    from fastapi import FastAPI
    from fastapi.responses import FileResponse, PlainTextResponse

    from utils.web.interface import CSS, make_interface, make_theme

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard)

    @app.get("/project/{name}/{path:path}")
    def project_file(name: str, path: str) -> Any:
        file = page_file(open_project(folder, name), path) if is_name(name) and (folder / name).is_dir() else None
        if file is None or not file.is_file():
            return PlainTextResponse(_("it is not there yet"), 404)
        is_shown = file.suffix in (".html", ".png")
        return FileResponse(file, filename=None if is_shown else file.name, headers={"cache-control": "no-cache"})

    interface = make_interface(folder)
    settings: dict[str, Any] = {"footer_links": [], "css": CSS, "theme": make_theme(), "ssr_mode": False, "pwa": False}
    settings |= {"max_file_size": LARGEST_UPLOAD, "server_name": HOST, "show_error": True, "mcp_server": False}
    return gradio.mount_gradio_app(app, interface, path="/", **settings)


def serve(folder: Path, port: int, browser: bool) -> None:
    """Serve the app until it is interrupted.

    Raises:
        UserError: when Gradio is not installed, or the port is taken.
    """
    if not find_spec("gradio"):
        command = "python -m pip install -r utils/requirements/app.txt"
        raise UserError(_("the app needs Gradio: {command}", command=command))
    with socket.socket() as listening:
        if os.name != "nt":  # where it would let two programs share the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise UserError(_("port {port} is taken: choose another with --port", port=port)) from error
        import uvicorn

        app = make_app(folder)
        address = f"http://{HOST}:{listening.getsockname()[1]}"
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
        logger.info(_("{address}: the app, for browsers on this computer; Ctrl-C closes it", address=address))
        if browser:
            webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listening])
