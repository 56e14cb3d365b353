"""The service: what each path answers. Every error is JSON with one line, `{"error": "..."}`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from queue import Full
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from xfer.arrays import Float32
from xfer.errors import DataError
from xfer.multilabel import names_of
from xfer.pixels.augment import Transform
from xfer.scores.thresholds import taken
from xfer.serving.batches import Batches
from xfer.serving.page import HEADERS, PAGE
from xfer.serving.uploads import TooLargeError, pictures_in, pixels_of, read_body


@dataclass(frozen=True)
class Model:
    """What a request needs to know of the model: its classes, and what is done to a picture before `batches` see it."""

    name: str
    classes: tuple[str, ...]
    transforms: tuple[Transform, ...]
    whole: bool
    batches: Batches
    thresholds: tuple[float, ...] | None = None  # of any number of labels a picture, see `Predictions`


def application(model: Model, max_upload: int, timeout: float) -> Starlette:
    """max_upload: bytes of a request; timeout: seconds until all of it has to be there."""

    async def predict(request: Request) -> Response:
        try:
            async with asyncio.timeout(timeout):
                body = await read_body(request.stream(), request.headers, max_upload)
            pictures = await pictures_in(body, request.headers)
            shares = await _shares(model, pictures)
        except TooLargeError as error:
            return _error(413, str(error), close=True)
        except DataError as error:
            return _error(400, str(error))
        except TimeoutError:
            return _error(408, f"the request took more than {timeout:g} seconds to come", close=True)
        except ClientDisconnect:
            return _error(400, "the request broke off")
        except (Full, NotReadyError):
            return _error(503, "busy: try again in a second", retry=True)
        return JSONResponse(
            {
                "model": model.name,
                "predictions": [_prediction(model, name, row) for (name, _), row in zip(pictures, shares, strict=True)],
            }
        )

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(request: Request) -> Response:
        if model.batches.alive:
            about = {"model": model.name, "classes": list(model.classes), "max_upload": max_upload}
            return JSONResponse({"status": "ready", **about})
        return _error(503, "the model is not there", retry=True)

    async def known(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = {404: "no such path. Cure: GET / or POST /predict", 405: "no such method for this path"}
        return _error(status, words.get(status, "an error of the service"))

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/health", health, methods=["GET"]),
        Route("/ready", ready, methods=["GET"]),
        Route("/predict", predict, methods=["POST"]),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: known, Exception: known})


class NotReadyError(Exception):
    """There is no model, or not yet."""


async def _shares(model: Model, pictures: list[tuple[str, bytes]]) -> list[Float32]:
    """Class probabilities of each picture. Raises DataError with the name of the first that cannot be used."""
    if not model.batches.alive:
        raise NotReadyError
    read = partial(pixels_of, transforms=model.transforms, whole=model.whole)
    pixels = [await run_in_threadpool(read, name, content) for name, content in pictures]
    return [await asyncio.wrap_future(waiting) for waiting in [model.batches.submit(each) for each in pixels]]


def _prediction(model: Model, name: str, row: Float32) -> dict[str, Any]:
    shares = {label: float(share) for label, share in zip(model.classes, row, strict=True)}
    if model.thresholds is not None:
        own = names_of(taken(row[None], model.thresholds)[0], model.classes)
        return {"picture": name, "labels": list(own), "probabilities": shares}
    best = int(row.argmax())
    return {"picture": name, "class": model.classes[best], "probability": float(row[best]), "probabilities": shares}


def _error(status: int, words: str, close: bool = False, retry: bool = False) -> Response:
    """`close`: what is left of the request is not read."""
    headers = ({"Connection": "close"} if close else {}) | ({"Retry-After": "1"} if retry else {})
    return JSONResponse({"error": " ".join(words.split())}, status, headers)
