"""What a FastAPI route costs that checks a body of the same shape and does nothing: the floor of an HTTP submit."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

app = FastAPI()


class Request(BaseModel):
    """As much to check as the fields a caller sends."""

    task_type: str = Field(min_length=1, max_length=63)
    priority: Literal["critical", "high", "medium", "low"] = "medium"
    payload: dict[str, Any]


class Answer(BaseModel):
    """Two fields."""

    task_id: str
    status: str = "queued"


@app.post("/api/v1/tasks", status_code=202)
async def submit(request: Request) -> Answer:
    """Writes nothing."""
    return Answer(task_id=request.task_type)


@app.get("/readyz")
async def readyz() -> dict[str, bool]:
    """At once."""
    return {"ok": True}
