"""What the schema says of the API beyond what the read views say of themselves: errors, limits, and the routes for programs.

The routes for programs are plain views (their bodies are streamed, and they have no session), so they are described here by hand;
tests/security/test_api.py holds every word against what the portal answers.
"""

from __future__ import annotations

from typing import Any

from portal.images.models import FileOutcome

Part = dict[str, Any]
BIGGEST = 2**63 - 1
_ERRORS = {
    "400": "What was sent cannot be used; the message says what to send instead.",
    "401": "Nobody is logged in, or the upload token is none (any more).",
    "403": "Visible, but not allowed to this person.",
    "404": "Absent, or not this person's to see: the two are told apart nowhere.",
    "405": "The address takes other methods.",
    "409": "Not in the state that it is in now.",
    "410": "A file that came only in part waited too long and was removed.",
    "412": "Another version of the tus protocol.",
    "413": "More than can be sent here.",
    "415": "Another type of body is wanted.",
    "423": "Another request is sending to this file right now.",
    "429": "Asked too often; Retry-After says for how long to wait.",
    "460": "The piece's checksum is another.",
    "503": "Many files are arriving, or the store is away; Retry-After says for how long to wait.",
    "507": "The disk, or what the site may store, is full.",
}
_ALWAYS = ("401", "403", "429")
NOTE_LONGEST = 200


def complete(result: Part, generator: object, request: object, public: bool) -> Part:
    """A hook of drf-spectacular, after it has walked over the views."""
    del generator, request, public
    components = result["components"]
    components["schemas"] |= SCHEMAS
    components["securitySchemes"]["uploadToken"] = {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Token winnow_...`, from the page Upload tokens. It opens the routes for programs at its own site, and no other.",
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            _with_errors(operation, "400", "404")
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["schema"] |= {"minimum": 1, "maximum": BIGGEST}
    for address, described in PROGRAMS.items():
        result["paths"][address] = described
    return result


def _with_errors(operation: Part, *statuses: str) -> Part:
    for status in sorted({*_ALWAYS, *statuses}):
        said = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        operation["responses"][status] = {"description": _ERRORS[status], "content": said}
    return operation


def _object(**properties: Part) -> Part:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(of: str) -> Part:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{of}"}}


_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_COUNT, _WHEN = {"type": "integer", "minimum": 0}, {"type": "string", "format": "date-time"}
_NUMBER_OR_NONE = {"type": "integer", "nullable": True}
_COUNT_OR_NONE = {"type": "integer", "minimum": 0, "nullable": True}
_OUTCOME = {"type": "string", "enum": list(FileOutcome.values)}
SCHEMAS: Part = {
    "Error": _object(code={"type": "string", "description": "For programs."}, message={"type": "string", "description": "For people."}),
    "Token": _object(name=_TEXT, site=_TEXT, site_name=_TEXT, expires=_WHEN),
    "Upload": _object(upload=_NUMBER, note=_TEXT, opened=_WHEN, page=_TEXT, held=_TEXT, tus=_TEXT, table=_TEXT, close=_TEXT),
    "Uploads": _object(uploads=_list("Upload")),
    "WholeFile": _object(name=_TEXT, size=_COUNT_OR_NONE, outcome=_OUTCOME, message=_TEXT),
    "PartialFile": _object(name=_TEXT, size=_COUNT, mark=_TEXT, offset=_COUNT, address=_TEXT),
    "Held": _object(files=_list("WholeFile"), partial=_list("PartialFile")),
    "RowError": _object(row=_NUMBER, message=_TEXT),
    "Applied": _object(rows=_COUNT, matched=_COUNT, errors=_list("RowError"), notices={"type": "array", "items": _TEXT}),
    "Outcome": _object(file=_NUMBER, name=_TEXT, outcome=_OUTCOME, message=_TEXT, image=_NUMBER_OR_NONE),
}


def _operation(name: str, about: str, answers: Part, *errors: str, parameters: tuple[Part, ...] = (), body: Part | None = None) -> Part:
    made = {
        "operationId": name, "description": about, "tags": ["programs"], "security": [{"uploadToken": []}],
        "parameters": [*parameters], "responses": dict(answers),
    }  # fmt: skip
    return _with_errors(made | ({"requestBody": body} if body else {}), *errors)


def _answer(schema: str, status: str = "200") -> Part:
    return {status: {"description": "", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}}


def _empty(status: str) -> Part:
    return {status: {"description": "Without a body."}}


def _header(name: str, schema: Part, about: str = "", *, required: bool = True) -> Part:
    return {"in": "header", "name": name, "required": required, "schema": schema, "description": about}


_UPLOAD = {"in": "path", "name": "upload_id", "required": True, "schema": {"type": "integer", "minimum": 1, "maximum": BIGGEST}}
_ARRIVAL = {"in": "path", "name": "arrival_id", "required": True, "schema": {"type": "string", "format": "uuid"}}
_TUS = _header("Tus-Resumable", {"type": "string", "enum": ["1.0.0"]})
_LENGTH = _header("Upload-Length", {"type": "integer", "minimum": 0, "maximum": BIGGEST}, "Bytes of the whole file.")
_OFFSET = _header("Upload-Offset", {"type": "integer", "minimum": 0, "maximum": BIGGEST}, "How many bytes are there already.")
_ABOUT_FILE = _header("Upload-Metadata", _TEXT, "`name` and, if wanted, `mark`, each with its value in base64.", required=False)
_BYTES = {"required": True, "content": {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
_OPENED = {
    "type": "object",
    "properties": {
        "note": {"type": "string", "maxLength": NOTE_LONGEST},
        "expected": {"type": "integer", "minimum": 0, "description": "How many files will come, as far as is known."},
    },
}
_BEGUN = {"description": "Its address is in Location. A file that came whole with this request is answered with its Outcome, as JSON."}
_CAME = {"description": "How far the file is: Upload-Offset, Upload-Length; Winnow-Outcome where it is complete."}
_FILES = "/api/v1/uploads/{upload_id}/tus/"
PROGRAMS: Part = {
    "/api/v1/token/": {"get": _operation("token", "What this token is for.", _answer("Token"))},
    "/api/v1/uploads/": {
        "get": _operation("uploads_list", "The open uploads of the token's person at its site, newest first.", _answer("Uploads")),
        "post": _operation(
            "uploads_open", "Open an upload.", _answer("Upload", "201"), "400", "413", "507",
            body={"content": {"application/json": {"schema": _OPENED}}},
        ),
    },
    "/api/v1/uploads/{upload_id}/held/": {
        "get": _operation("uploads_held", "What has come: whole files, and files in part.", _answer("Held"), "404", parameters=(_UPLOAD,)),
    },
    "/api/v1/uploads/{upload_id}/table/": {
        "post": _operation(
            "uploads_table", "The metadata table, CSV or XLSX, as the body; a long one is applied after the answer (202).",
            _answer("Applied") | _answer("Applied", "202"), "400", "404", "409", "413",
            parameters=(_UPLOAD,),
            body={"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        ),
    },
    "/api/v1/uploads/{upload_id}/close/": {
        "post": _operation("uploads_close", "All files were sent.", _answer("Upload"), "400", "404", "409", parameters=(_UPLOAD,)),
    },
    _FILES: {
        "options": _operation(
            "tus_options", "What of the tus protocol is spoken here.", _empty("204"), "400", "404", "409", parameters=(_UPLOAD,)
        ),
        "post": _operation(
            "tus_create", "Begin a file by the tus protocol 1.0.0; its address comes as Location.",
            {"201": _BEGUN}, "400", "404", "409", "412", "413", "415", "460", "503", "507",
            parameters=(_UPLOAD, _TUS, _LENGTH, _ABOUT_FILE),
        ),
    },
    f"{_FILES}{{arrival_id}}": {
        "head": _operation(
            "tus_offset", "How far a file is.", {"200": _CAME}, "400", "404", "410", "412", parameters=(_UPLOAD, _ARRIVAL, _TUS)
        ),
        "patch": _operation(
            "tus_send", "The next piece. With the last one the answer is the file's outcome.", _empty("204") | _answer("Outcome"),
            "400", "404", "409", "410", "412", "413", "415", "423", "460", "503", "507",
            parameters=(_UPLOAD, _ARRIVAL, _TUS, _OFFSET), body=_BYTES,
        ),
        "delete": _operation(
            "tus_give_up", "Give a file up that came only in part.", _empty("204"), "400", "404", "409", "410", "412", "423",
            parameters=(_UPLOAD, _ARRIVAL, _TUS),
        ),
    },
}  # fmt: skip
"""Not here: the schema's own address, which is the schema."""
