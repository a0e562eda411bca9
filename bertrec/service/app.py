"""The service: its paths, and what each of them needs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from bertrec.core.errors import BertrecError
from bertrec.core.version import __version__
from bertrec.service import answers, schemas, writing
from bertrec.service.batching import Batcher
from bertrec.service.errors import BUSY, FORBIDDEN, MALFORMED, MISSING, Refused, shown, status_of
from bertrec.service.holder import Holder
from bertrec.service.limits import KEY, TRUSTED, Gate, Limits
from bertrec.service.loaded import Source
from bertrec.service.metrics import Metrics

_PAGE = Path(__file__).with_name("page")
_SAID = {
    400: "A value that cannot be used.",
    401: "The key is missing or wrong.",
    403: "Not allowed here.",
    404: "No such item or user.",
    413: "The body is too large.",
    422: "The body is malformed.",
    503: "Too many requests at once, or the run is in use.",
    504: "Too slow.",
}
_UNREAD = "the body cannot be read: it is nested too deeply, or holds a number of too many digits"
_ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": schemas.Error, "description": text} for status, text in _SAID.items()}


class Service:
    """What the paths share.

    Args:
        source: what is served.
        key: see `bertrec.service.limits.Gate`.
        limits: see there.
        workers: threads that make lists.
        every: seconds between two looks for a newer state.

    Raises:
        BertrecError: it cannot be served.
    """

    def __init__(
        self, source: Source, *, key: str | None = None, limits: Limits | None = None, workers: int = 1, every: float = 1.0
    ) -> None:
        self.source, self.key, self.limits = source, key, limits or Limits()
        self.holder, self.batcher = Holder(source, every=every), Batcher(workers)
        self.metrics = Metrics(self.holder, self.batcher)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Serve."""
        self.batcher.start()
        self.holder.start()
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(self.holder.stop)
            await anyio.to_thread.run_sync(self.batcher.stop)

    async def recommend(self, body: schemas.RecommendBody) -> dict[str, Any]:
        """Return a list; what one state begins, it ends."""
        loaded = self.holder.current
        request = answers.asked(loaded, body)
        if request.source == "profile":
            row = await _aside(answers.by_profile, loaded, body, request)
        else:
            row = await self.batcher.submit(answers.job_of(loaded, body, request))
        made = answers.recommended
        return await _aside(made, loaded, body, request, row) if body.why else made(loaded, body, request, row)

    async def put(self, body: schemas.ItemsBody) -> dict[str, Any]:
        """Write items, one request after the other; what has begun ends, also where nobody waits for it any more."""
        if self.key is None:
            raise Refused(FORBIDDEN, f"writes are off: start the service with a key in {KEY}")
        return await asyncio.shield(self._put([item.model_dump() for item in body.items]))

    async def _put(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self.limits.seconds):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Refused(BUSY, "other items are being written: try again later") from error
        try:
            done = await _aside(writing.put, self.source, rows)
            await _aside(self.holder.refresh)
        finally:
            self._turn.release()
        self.metrics.count_written(done)
        problem = self.holder.problem
        return done | {"notes": [*done["notes"], *([] if problem is None else [f"written, but not served yet: {problem}"])]}


async def _aside(work: Any, *values: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: work(*values))


def make_app(service: Service) -> FastAPI:
    """Return the service as an ASGI application."""
    app = FastAPI(
        title="bertrec",
        version=__version__,
        description="Recommend from what items say.",
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
        responses=_ERRORS,
    )
    _add_reads(app, service)
    _add_rest(app, service)
    _add_page(app)
    _add_errors(app)
    app.add_middleware(Gate, limits=service.limits, key=service.key, metrics=service.metrics)
    return app


def _add_reads(app: FastAPI, service: Service) -> None:
    @app.post("/recommend", response_model=schemas.Recommended)
    async def recommend(body: schemas.RecommendBody) -> Any:
        """Recommend items for a user, a history, or a profile."""
        return JSONResponse(await service.recommend(body))

    @app.post("/similar", response_model=schemas.Similar)
    async def similar(body: schemas.SimilarBody) -> Any:
        """List the items most like one."""
        return JSONResponse(await _aside(answers.similar, service.holder.current, body))

    @app.post("/search", response_model=schemas.Searched)
    async def search(body: schemas.SearchBody) -> Any:
        """List the items that words ask for."""
        return JSONResponse(await _aside(answers.search, service.holder.current, body))

    @app.get("/titles", response_model=schemas.TitlesFound)
    async def titles(
        starts: Annotated[str, Query(min_length=1, max_length=200, description="What was typed.")],
        k: Annotated[int, Query(ge=1, le=50)] = 8,
    ) -> Any:
        """List titles that hold the words typed so far."""
        return JSONResponse(answers.titles(service.holder.current, starts, k))

    @app.get("/items/{item_id:path}", include_in_schema=False)  # an id may hold a stroke
    @app.get("/items/{item_id}", response_model=schemas.OneItem)
    async def item(item_id: str) -> Any:
        """Return all that is said of an item."""
        return JSONResponse(answers.one_item(service.holder.current, item_id))


def _add_rest(app: FastAPI, service: Service) -> None:
    @app.put("/items", response_model=schemas.Updated, responses={507: {"model": schemas.Error, "description": "The disk is full."}})
    async def put(body: schemas.ItemsBody) -> Any:
        """Write new and changed items into the run and its index."""
        return JSONResponse(await service.put(body))

    @app.get("/health", response_model=schemas.Health)
    async def health(request: Request) -> Any:
        """Say what is served; values and places of it to those alone who may ask for more."""
        problem = service.holder.problem
        notes = [] if problem is None else [f"a newer state cannot be served: {problem}"]
        said = answers.health(service.holder.current, writes=service.key is not None, notes=notes)
        if not request.scope[TRUSTED]:
            said |= {"attributes": [], "notes": [] if problem is None else ["a newer state cannot be served: the key shows why"]}
        return JSONResponse(said)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics() -> Response:
        """Count requests, seconds, reloads and items, as Prometheus reads them."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_page(app: FastAPI) -> None:
    if _PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=_PAGE), name="page")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        file = _PAGE / "index.html"
        if not file.is_file():
            raise Refused(MISSING, "this installation has no page: GET /health and /openapi.json say what is served")
        return Response(await anyio.to_thread.run_sync(file.read_bytes), media_type="text/html; charset=utf-8")


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(BertrecError)
    async def mendable(request: Request, error: BertrecError) -> JSONResponse:
        status = status_of(error)
        return JSONResponse(shown(error), status, {"retry-after": "1"} if status == BUSY else None)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse(shown(Refused(MALFORMED, _first(error))), MALFORMED)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        path = request.url.path[:100]
        text = {400: _UNREAD, 404: f"no such path: {path}", 405: f"{request.method} does not go with {path}"}
        return JSONResponse(shown(Refused(error.status_code, text.get(error.status_code, error.detail))), error.status_code, error.headers)


def _first(error: RequestValidationError) -> str:
    """Return the first problem in one line."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if part not in ("body", "query", "path"))
    said = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        said = "no such field: GET /openapi.json lists those there are"
    if problem["type"] == "json_invalid":
        return f"the body is no JSON: {problem.get('ctx', {}).get('error', said)}"
    if problem["type"] == "model_attributes_type" and not where:
        return "the body is no JSON object: send one, with  content-type: application/json"
    return f"{where:.100}: {said}" if where else said
