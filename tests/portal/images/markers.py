"""Files with a marker of its own in every place where a container keeps words, and where a marker is left."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pydicom
from PIL import Image as Picture
from PIL import TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset

from tests.portal.images import pictures


@dataclass
class Planted:
    """One file, and the marker that lies in each named place of it."""

    name: str
    data: bytes = b""
    markers: dict[str, str] = field(default_factory=dict)

    def mark(self, place: str) -> str:
        self.markers[place] = f"QMARK{len(self.markers):02d}{self.name.upper()}Z"
        return self.markers[place]

    def bytes(self, place: str) -> bytes:
        return self.mark(place).encode()


def left(data: bytes, planted: Planted) -> set[str]:
    """The places whose marker stands in these bytes: as ASCII, as UTF-16, or packed in a chunk of a PNG."""
    whole = data + b"".join(_unpacked(data))
    return {
        place
        for place, marker in planted.markers.items()
        if any(marker.encode(coding) in whole for coding in ("ascii", "utf-16-le", "utf-16-be"))
    }


def _unpacked(data: bytes) -> Iterator[bytes]:
    """What is compressed in the chunks of a PNG, but for its pixels."""
    at = 8
    while data.startswith(b"\x89PNG") and at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        chunk = data[at + 8 : at + 8 + length]
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            start = chunk.find(b"\x78")
            while start >= 0:
                try:
                    yield zlib.decompressobj().decompress(chunk[start:])
                except zlib.error:
                    start = chunk.find(b"\x78", start + 1)
                    continue
                break
        at += 12 + length


def _profile(words: bytes) -> bytes:
    """sRGB as Pillow writes it, with a description of our own at its end."""
    from PIL import ImageCms

    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + words


def _exif(file: Planted) -> Picture.Exif:
    exif = Picture.Exif()
    for tag, place in ((0x010E, "EXIF ImageDescription"), (0x013B, "EXIF Artist"), (0x8298, "EXIF Copyright"), (0x0131, "EXIF Software")):
        exif[tag] = file.mark(place)
    exif[0x9C9C] = file.mark("EXIF XPComment").encode("utf-16-le")
    details = exif.get_ifd(0x8769)
    details[0x9286] = b"ASCII\0\0\0" + file.bytes("EXIF UserComment")
    details[0x927C] = file.bytes("EXIF MakerNote")
    details[0xA431] = file.mark("EXIF BodySerialNumber")
    details[0xA430] = file.mark("EXIF CameraOwnerName")
    exif.get_ifd(0x8825)[0x001C] = file.mark("GPS AreaInformation")
    return exif


def _segment(number: int, content: bytes) -> bytes:
    return bytes((0xFF, number)) + struct.pack(">H", len(content) + 2) + content


def jpeg(picture: Picture.Image) -> Planted:
    file = Planted("jpeg")
    plain = pictures.encoded(picture, quality=90, exif=_exif(file), comment=file.mark("JPEG comment"))
    iptc = b"\x1c\x02\x78" + struct.pack(">H", 20) + file.bytes("IPTC caption").ljust(20)
    extended = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + struct.pack(">II", 40, 0) + file.bytes("XMP extended")
    hidden = pictures.encoded(picture.resize((64, 48)), quality=60, comment=file.mark("JFXX thumbnail"))
    extra = b"".join((
        _segment(0xE0, b"JFXX\0\x10" + hidden),
        _segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>" + file.bytes("XMP") + b"</x>"),
        _segment(0xE1, extended),
        _segment(0xE2, b"ICC_PROFILE\0\x01\x01" + _profile(file.bytes("ICC description"))),
        _segment(0xE5, file.bytes("APP5")),
        _segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">I", len(iptc)) + iptc),
        _segment(0xEF, file.bytes("APP15")),
    ))  # fmt: skip
    file.data = plain[:2] + extra + plain[2:] + file.bytes("after the end of the JPEG")
    return file


def mpo(picture: Picture.Image) -> Planted:
    """A JPEG with a second picture behind the first, as phones write it."""
    file = Planted("mpo")
    second = picture.transpose(Picture.Transpose.FLIP_LEFT_RIGHT)
    second.encoderinfo = {"comment": file.mark("MPO second picture")}
    exif = Picture.Exif()
    exif[0x013B] = file.mark("MPO EXIF Artist")
    file.data = pictures.encoded(picture, "MPO", save_all=True, append_images=[second], exif=exif)
    if file.markers["MPO second picture"].encode() not in file.data:
        file.data += _segment(0xFE, file.markers["MPO second picture"].encode())
    return file


def png(picture: Picture.Image) -> Planted:
    file = Planted("png")
    words = PngInfo()
    words.add_text("Comment", file.mark("PNG tEXt"))
    words.add_text("Description", file.mark("PNG zTXt"), zip=True)
    words.add_itxt("Author", file.mark("PNG iTXt"))
    words.add_itxt("XML:com.adobe.xmp", file.mark("PNG packed iTXt"), zip=True)
    words.add(b"prVt", file.bytes("PNG private chunk"))
    words.add(b"sPLT", file.bytes("PNG palette name") + b"\0\x08")
    words.add(b"prVa", file.bytes("PNG private chunk after the pixels"), after_idat=True)
    exif = Picture.Exif()
    exif[0x013B] = file.mark("PNG eXIf")
    data = pictures.encoded(picture, "PNG", pnginfo=words, exif=exif, icc_profile=_profile(file.bytes("PNG iCCP")))
    file.data = data + file.bytes("after the end of the PNG")
    return file


def tiff(picture: Picture.Image) -> Planted:
    file = Planted("tiff")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for number, place in ((269, "DocumentName"), (270, "ImageDescription"), (305, "Software"), (315, "Artist"), (316, "HostComputer")):
        tags[number] = file.mark(f"TIFF {place}")
    for number, place in ((700, "XMP"), (33723, "IPTC"), (34377, "Photoshop"), (65000, "private tag")):
        tags.tagtype[number] = 7
        tags[number] = file.bytes(f"TIFF {place}")
    page = picture.resize((64, 48))
    page.encoderinfo = {"description": file.mark("TIFF second page")}
    file.data = pictures.encoded(picture, "TIFF", tiffinfo=tags, save_all=True, append_images=[page])
    if file.markers["TIFF second page"].encode() not in file.data:
        file.data += file.markers["TIFF second page"].encode()
    return file


def webp(picture: Picture.Image) -> Planted:
    file = Planted("webp")
    exif = Picture.Exif()
    exif[0x013B] = file.mark("WebP EXIF")
    profile = _profile(file.bytes("WebP ICCP"))
    data = pictures.encoded(picture, "WEBP", quality=90, exif=exif, xmp=file.bytes("WebP XMP"), icc_profile=profile)
    unknown = file.bytes("WebP unknown chunk")
    unknown += b"\0" * (len(unknown) % 2)
    data += b"JUNK" + struct.pack("<I", len(unknown)) + unknown
    file.data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    return file


def dicom(picture: Picture.Image) -> Planted:
    file = Planted("dicom")
    data = pydicom.dcmread(io.BytesIO(pictures.dicom()))
    data.Rows, data.Columns, data.PixelData = picture.height, picture.width, picture.tobytes()
    for name in ("PatientName", "PatientID", "InstitutionName", "ReferringPhysicianName", "ImageComments", "StudyDescription"):
        setattr(data, name, file.mark(f"DICOM {name}"))
    inner = Dataset()
    inner.PatientID = file.mark("DICOM sequence")
    data.OtherPatientIDsSequence = [inner]
    data.private_block(0x0009, "CLINIC", create=True).add_new(0x01, "LO", file.mark("DICOM private attribute"))
    sink = io.BytesIO()
    data.save_as(sink, enforce_file_format=True)
    file.data = file.bytes("DICOM preamble").ljust(128, b"\0") + sink.getvalue()[128:]
    return file


ALL: tuple[Callable[[Picture.Image], Planted], ...] = (jpeg, mpo, png, tiff, webp, dicom)
