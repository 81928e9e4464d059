"""``/api/v1/files``: bring a file, to be named in payloads as ``file:<sha256>``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response

from pulser.api.room import room
from pulser.core.errors import BadInput
from pulser.events.append import emit
from pulser.store.blobs import info
from pulser.store.tx import Tx
from pulser.web.caller import caller, writer
from pulser.web.query import REVALIDATED, unchanged

router = APIRouter(tags=["files"])
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}},
            "application/octet-stream": {},
        },
    }
}


@router.post("/files", status_code=201, summary="Upload a file", openapi_extra=_BODY)
async def upload(request: Request, name: Annotated[str, Query(max_length=200, description="Its name, for a raw body")] = "") -> Response:
    """As a form's `file`, or raw with `?name=`. The same bytes are kept once."""
    actor, r = writer(request), room(request)
    scratch = r.settings.store.data_dir / "scratch"
    scratch.mkdir(mode=0o700, exist_ok=True)
    media_type = request.headers.get("content-type", "application/octet-stream")
    with tempfile.NamedTemporaryFile(dir=scratch) as partial:
        if media_type.startswith("multipart/form-data"):
            form = await request.form(max_files=1, max_fields=5)
            file = form.get("file")
            if not isinstance(file, UploadFile):
                raise BadInput("the form has no file", hint="Send it as the field 'file'.", errors=[{"pointer": "/file", "detail": "missing"}])
            name, media_type = name or file.filename or "file", file.content_type or "application/octet-stream"
            while chunk := await file.read(1 << 18):
                partial.write(chunk)
        else:
            async for chunk in request.stream():
                partial.write(chunk)
        partial.flush()
        name = (name.replace("\\", "/").rsplit("/", 1)[-1] or "file")[:200]
        if not name.isprintable():
            raise BadInput("the file's name has control characters", errors=[{"pointer": "/name", "detail": "control characters"}])
        media_type = media_type.split(";")[0].strip()[:100]
        digest, size = await asyncio.to_thread(r.blobs.put, actor.company_id, Path(partial.name), name=name, media_type=media_type)

    def tell(tx: Tx) -> None:
        emit(tx, "file_stored", actor.company_id, f"file:{digest}", None, {"sha256": digest, "name": name, "size_bytes": size})

    await r.store.write(tell, company=actor.company_id, actor=actor)
    body = {"file": f"file:{digest}", "sha256": digest, "size_bytes": size, "media_type": media_type, "name": name}
    return Response(msgspec.json.encode(body), status_code=201, media_type="application/json", headers={"Location": f"/api/v1/files/{digest}"})


@router.get("/files/{sha256}", summary="A file's bytes", response_class=FileResponse)
async def download(request: Request, sha256: str) -> Response:
    """Always as a download."""
    actor, r = caller(request), room(request)
    path = await asyncio.to_thread(r.blobs.path, actor.company_id, sha256)  # whether it is there, and theirs
    tag, headers = f'"{sha256}"', {"Content-Security-Policy": "sandbox", "Cache-Control": REVALIDATED}
    if same := unchanged(request, tag, headers):
        return same
    known = await r.store.read(info, sha256, company=actor.company_id)
    return FileResponse(path, media_type="application/octet-stream", filename=known["name"] or sha256, headers={**headers, "ETag": tag})
