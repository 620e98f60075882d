"""What a file is, by its content and never by its name. Pure: the first 512 bytes in, a word out."""

from __future__ import annotations

ACCEPTED = ("JPEG", "PNG", "TIFF", "WebP", "HEIC", "DICOM")
ACCEPTED_WORDS = "JPEG, PNG, TIFF, WebP, HEIC or DICOM"
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg"), "PNG": (".png",), "TIFF": (".tif", ".tiff"), "WebP": (".webp",), "HEIC": (".heic", ".heif"),
    "DICOM": (".dcm",),
}  # fmt: skip

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"PK\x07\x08", "part"),
    (b"\xd0\xcf\x11\xe0", "Office"),
    (b"Rar!\x1a\x07", "archive"),
    (b"7z\xbc\xaf\x27\x1c", "archive"),
    (b"\x1f\x8b", "archive"),
)
_OFFICE_STARTS = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"word/", b"xl/", b"ppt/", b"mimetype")
"""How the first name in a ZIP begins that is an office document, a drawing or a book."""
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"}
_VIDEO_BRANDS = {b"isom", b"mp42", b"mp41", b"qt  ", b"iso2", b"avc1", b"M4V "}
_OTHER_WORDS = {
    "GIF": "a GIF picture",
    "BMP": "a BMP picture",
    "AVIF": "an AVIF picture",
    "PDF": "a PDF document",
    "ZIP": "an archive inside an archive; unpack it first",
    "part": "one part of a ZIP archive in several parts; pack it as one",
    "archive": "an archive that is no ZIP; unpack it, or pack it as ZIP",
    "Office": "an office document",
    "video": "a video; send single photographs",
}


def sniff(head: bytes) -> str:
    """The format's name, accepted or not; empty where the content is nothing that is known here."""
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _sniff_boxes(head)
    found = next((name for magic, name in _MAGIC if head.startswith(magic)), "")
    return "Office" if found == "ZIP" and head[30:].startswith(_OFFICE_STARTS) else found


def is_archive(head: bytes) -> bool:
    """Whether a file that starts like this is a ZIP archive to be unpacked, and not an office document, which is one inside."""
    return sniff(head) == "ZIP"


def _sniff_boxes(head: bytes) -> str:
    """HEIC, AVIF and MP4 share their container; the brands tell them apart."""
    length = int.from_bytes(head[:4], "big")
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & _HEIC_BRANDS:
        return "HEIC"
    return "video" if brands & _VIDEO_BRANDS else ""


def refusal(head: bytes) -> str:
    """Why a file that starts like this is no picture to take; empty where it may go on to the sanitiser."""
    if not head:
        return "The file is empty (0 bytes). Copy it from the camera again."
    found = sniff(head)
    if found in ACCEPTED:
        return ""
    what = _OTHER_WORDS.get(found, "not a picture that is known here")
    return f"By its content this is {what}. Send {ACCEPTED_WORDS}."


def download_name(name: str, format_: str) -> str:
    """What a file is saved as: ending in what its content is, so that no computer opens `a.html` as a page that is also a picture."""
    short = name.rpartition("/")[2]
    suffixes = SUFFIXES.get(format_, (".bin",))
    return short if short.lower().endswith(suffixes) else f"{short}{suffixes[0]}"
