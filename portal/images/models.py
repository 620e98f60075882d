"""Patients, their exams and photographs, and the uploads that brought them."""

import uuid

import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Upper
from pgvector.django import BitField, HnswIndex

from portal.accounts.models import Site, User
from portal.core.models import Created
from portal.images.likeness import BITS
from portal.ml import Kind


class ImageState(models.TextChoices):
    RECEIVED = "received"
    CLEAN = "clean"
    ANALYSED = "analysed"
    ACCEPTED = "accepted"
    IN_REVIEW = "in_review"
    SETTLED = "settled"
    REJECTED = "rejected"
    QUARANTINED = "quarantined"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    ERASED = "erased"


TRANSITIONS: tuple[tuple[str, str], ...] = (
    ("received", "clean"),
    ("received", "rejected"),
    ("received", "failed"),
    ("clean", "analysed"),
    ("clean", "failed"),
    ("clean", "quarantined"),
    ("analysed", "accepted"),
    ("analysed", "in_review"),
    ("accepted", "in_review"),
    ("in_review", "accepted"),
    ("in_review", "settled"),
    ("accepted", "settled"),
    ("settled", "in_review"),
    ("failed", "received"),
    ("failed", "clean"),
    ("quarantined", "clean"),
    ("withdrawn", "received"),
    ("withdrawn", "erased"),
    ("rejected", "erased"),
    *((state, "withdrawn") for state in ("received", "clean", "analysed", "accepted", "in_review", "settled", "quarantined", "failed")),
)
"""Every allowed change of Image.state. The database enforces it (trigger below); services name it.
Back from withdrawn goes only what a cancelled upload took with it and is then sent again; from erased nothing comes back."""

IN_WORK = (ImageState.RECEIVED, ImageState.CLEAN, ImageState.ANALYSED)
"""States in which the machines have an image to work on."""

OUT = (ImageState.WITHDRAWN, ImageState.ERASED)
"""States of what a site has taken back: in no count, data set, export or comparison."""

BESIDE_OTHERS = (ImageState.ANALYSED, ImageState.ACCEPTED, ImageState.IN_REVIEW, ImageState.SETTLED)
"""States in which the machines' word on an image counts, and counts beside the others of its exam."""

UPLOAD_CANCELLED = "The upload was cancelled."


class Patient(Created):
    """A pseudonymous patient of a site, created at first mention."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="patients")
    code = models.CharField(max_length=80)
    merged_into = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="merged",
        help_text="The same person under the code that remains; never one that is itself merged.",
    )  # fmt: skip
    gone = models.DateTimeField(null=True, help_text="When the split that made it was undone; it counts while there is no image again.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "code"], name="patient_once_a_site"),
            models.CheckConstraint(condition=~Q(merged_into=F("pk")), name="patient_not_merged_into_itself"),
        ]


class Exam(Created):
    """One visit. No exam given: one per patient and capture day (else upload day). It never changes its patient: images change exam,
    so that what was said of an image before stays readable."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="exams")
    code = models.CharField(max_length=80)
    day = models.DateField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["patient", "code"], name="exam_once_a_patient")]


class Upload(Created):
    """A set of files sent together, with an outcome for every file."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="uploads")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="uploads")
    note = models.CharField(max_length=200, blank=True)
    expected = models.IntegerField(default=0, help_text="How many files the sender announced.")
    closed = models.DateTimeField(null=True)
    cancelled = models.DateTimeField(null=True)


class Image(Created):
    """One photograph. Its site is its own column: an image without a patient still belongs to a site."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="images")
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, null=True, blank=True, related_name="images")
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, related_name="images")
    original_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, help_text="Of the original file; its name in the originals store.")
    size = models.BigIntegerField()
    format = models.CharField(max_length=12, blank=True)
    state = models.CharField(max_length=12, choices=ImageState.choices, default=ImageState.RECEIVED)
    state_reason = models.CharField(max_length=300, blank=True)
    width = models.IntegerField(null=True, help_text="Of the upright clean picture, pixels.")
    height = models.IntegerField(null=True)
    clean_sha256 = models.CharField(max_length=64, blank=True)
    clean_format = models.CharField(max_length=8, blank=True, help_text="jpg or png")
    captured = models.DateTimeField(null=True, help_text="From the file, as the device wrote it, taken as UTC.")
    device = models.CharField(max_length=120, blank=True)
    stated_kind = models.CharField(max_length=20, blank=True, choices=[(k.value, k.value) for k in Kind])

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "sha256"], name="image_once_a_site"),
            models.CheckConstraint(condition=Q(state__in=ImageState.values), name="image_known_state"),
            models.CheckConstraint(
                condition=Q(state__in=["received", "rejected", "failed", "withdrawn", "erased"]) | ~Q(clean_sha256=""),
                name="image_clean_has_picture",
            ),
        ]
        indexes = [
            models.Index(fields=["site", "-id"]),
            models.Index(fields=["state", "-id"]),
            models.Index(fields=["site"], condition=Q(state__in=["received", "clean", "analysed"]), name="image_in_work"),
            models.Index(fields=["exam"]),
        ]
        triggers = [pgtrigger.FSM(name="states", field="state", transitions=list(TRANSITIONS))]

    @property
    def without_patient(self) -> bool:
        """Analysed and shown, but flagged and kept out of snapshots."""
        return self.exam_id is None


class Likeness(Created):
    """By what a picture is known again (`likeness.py`); `compared` is empty while it waits to be compared with the others."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, primary_key=True)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    phash = BitField(length=BITS)
    sketch = models.BinaryField()
    compared = models.DateTimeField(null=True)

    class Meta:
        indexes = [
            HnswIndex(fields=["phash"], name="likeness_by_phash", opclasses=["bit_hamming_ops"]),
            models.Index(fields=["image"], condition=Q(compared=None), name="likeness_not_compared"),
        ]


class NearDuplicate(Created):
    """Two images of one site that show the same photograph, by different bytes. Information: nothing is thrown away for it."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="near_earlier")
    other = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="near_later", help_text="The one that came first.")
    distance = models.IntegerField(help_text="Bits of 64.")
    dismissed = models.DateTimeField(null=True, help_text="When a person said that they are not the same.")
    dismissed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "other"], name="near_duplicate_once"),
            models.CheckConstraint(condition=Q(image__gt=F("other")), name="near_duplicate_later_first"),
            models.CheckConstraint(
                condition=Q(dismissed=None, dismissed_by=None) | Q(dismissed__isnull=False, dismissed_by__isnull=False),
                name="near_duplicate_dismissed_by",
            ),
        ]


class Cleared(models.TextChoices):
    NO = "", "not cleared"
    ALLOWED = "allowed", "where the site's rule allows it"
    BLANKED = "blanked", "blanked"
    RELEASED = "released", "released with an attestation"


class TextFound(Created):
    """What was found written in a clean picture, and who cleared it how. `checked` is empty where it is to be looked for again."""

    image = models.OneToOneField(Image, on_delete=models.CASCADE, primary_key=True, related_name="text")
    boxes = models.JSONField(default=list, help_text="x0, y0, x1, y1 in pixels of the clean picture.")
    checked = models.DateTimeField(null=True)
    cleared = models.CharField(max_length=8, blank=True, choices=Cleared.choices)
    cleared_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    cleared_at = models.DateTimeField(null=True)
    attestation = models.CharField(max_length=500, blank=True)
    replaced = models.JSONField(default=list, help_text="Pictures that were blanked and are still to leave the store: sha256, extension.")


class TextRule(Created):
    """Where a site's device writes its timer, as shares of the picture: text wholly inside passes, blanked or not."""

    site = models.OneToOneField(Site, on_delete=models.CASCADE, related_name="text_rule")
    x0 = models.FloatField()
    y0 = models.FloatField()
    x1 = models.FloatField()
    y1 = models.FloatField()
    blank = models.BooleanField(default=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(x0__gte=0, y0__gte=0, x1__lte=1, y1__lte=1), name="text_rule_in_picture")]


class MetadataTable(Created):
    """A metadata table as it was sent. Its cells are held from the look at it until it is applied or given up, and then emptied:
    columns that nobody asked for may hold more than pseudonyms."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="tables")
    upload = models.ForeignKey(Upload, on_delete=models.PROTECT, null=True, related_name="tables", help_text="Null: of the whole site.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    rows = models.IntegerField(default=0)
    sheet = models.CharField(max_length=80, blank=True, help_text="Of a workbook with several: the one that is read.")
    cells = models.BinaryField(default=bytes)
    seen = models.CharField(max_length=64, blank=True, help_text="The digest of what was seen by who asked; empty: no look.")
    applied = models.DateTimeField(null=True)
    said = models.JSONField(default=dict, help_text="What became of its rows, in numbers.")
    refused = models.CharField(max_length=400, blank=True, help_text="Why it was not applied when somebody asked.")


class WordingOf(models.TextChoices):
    COLUMN = "column", "column"
    KIND = "kind", "kind"
    DEVICE = "device", "device"


class Wording(Created):
    """What one site calls our columns, kinds and devices. An empty `ours` of a column: not to be read, and not asked about again."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="wordings")
    of = models.CharField(max_length=8, choices=WordingOf.choices)
    theirs = models.CharField(max_length=120, help_text="As they write it.")
    key = models.CharField(max_length=120, help_text="What spellings of it have in common.")
    ours = models.CharField(max_length=120, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "of", "key"], name="wording_once_a_site"),
            models.CheckConstraint(condition=Q(of__in=WordingOf.values), name="wording_of_something_known"),
        ]


class FileOutcome(models.TextChoices):
    EXPECTED = "expected", "named by the table, not yet here"
    MISSING = "missing", "named by the table, never sent"
    NOT_USED = "not_used", "row of the table, not used"
    ACCEPTED = "accepted", "accepted"
    DUPLICATE = "duplicate", "already here"
    REJECTED = "rejected", "rejected"
    UNPACKING = "unpacking", "archive, being unpacked"
    UNPACKED = "unpacked", "archive, unpacked"


ARCHIVES = (FileOutcome.UNPACKING, FileOutcome.UNPACKED)
"""Outcomes of files that are no images themselves: their members are."""


class UploadFile(Created):
    """One file of an upload and what became of it; also one row of the metadata table, matched by name."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    outcome = models.CharField(max_length=12, choices=FileOutcome.choices)
    message = models.CharField(max_length=400, blank=True)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, null=True, related_name="arrivals")
    table_row = models.IntegerField(null=True, help_text="Row of the metadata table (first data row is 2).")
    table_error = models.CharField(max_length=400, blank=True)
    patient_code = models.CharField(max_length=80, blank=True)
    exam_code = models.CharField(max_length=80, blank=True)
    device = models.CharField(max_length=120, blank=True)
    stated_kind = models.CharField(max_length=20, blank=True)
    advice_dismissed = models.DateTimeField(null=True, help_text="When a person had done with what was to be taken again.")
    captured = models.DateField(null=True, help_text="The capture day that the table names.")
    table = models.ForeignKey(MetadataTable, on_delete=models.PROTECT, null=True, related_name="files")

    class Meta:
        indexes = [models.Index(F("upload"), Upper("name"), name="upload_file_by_name")]


class Arrival(Created):
    """One file on its way, sent piece by piece: how much of it lies safely in the originals store's `.partial`.

    Complete it points to its outcome, and stays to answer a sender who did not hear that.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, help_text="Its address, and its name on the disk.")
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="arrivals")
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=255)
    mark = models.CharField(max_length=80, blank=True, help_text="Of the sender's file, so that a changed one is not continued.")
    size = models.BigIntegerField()
    offset = models.BigIntegerField(default=0, help_text="Bytes that are on the disk.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Known once the last byte is here.")
    moved = models.DateTimeField(db_default=Now(), help_text="When bytes last came.")
    file = models.ForeignKey(UploadFile, on_delete=models.CASCADE, null=True, related_name="sent")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(offset__gte=0, offset__lte=F("size")), name="arrival_offset_within_size")]
        indexes = [models.Index(fields=["moved"], condition=Q(file=None), name="arrival_unfinished")]


class Archive(Created):
    """A ZIP file of an upload: what it takes to unpack it, and to go on where an unpacking stopped."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="archives")
    file = models.OneToOneField(UploadFile, on_delete=models.CASCADE, related_name="archive")
    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField()
    members = models.IntegerField(null=True, help_text="How many files it holds, hidden ones left out; known once it was opened.")
    done = models.IntegerField(default=0, help_text="So many of its members, from the first on, have their outcome.")
    outcomes = models.JSONField(default=dict, help_text="How many members came to which outcome.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "sha256"], name="archive_once_an_upload")]


class RegroupingKind(models.TextChoices):
    MOVE = "move", "moved"
    MERGE = "merge", "merged"
    SPLIT = "split", "split"
    UNDO = "undo", "undone"


class Regrouping(Created):
    """Images that went from one patient to another, because they were the wrong one's or both are the same person."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="regroupings")
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=6, choices=RegroupingKind.choices)
    source = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="left")
    target = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="came")
    undoes = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="undone_by")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=RegroupingKind.values), name="regrouping_known_kind"),
            models.CheckConstraint(condition=Q(kind="undo", undoes__isnull=False) | ~Q(kind="undo") & Q(undoes=None), name="undo_of_one"),
        ]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]


class Correction(Created):
    """A version of what is said of an image: who changed what, from what to what, and by which table and row, or which regrouping."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="corrections")
    actor = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    table = models.ForeignKey(MetadataTable, on_delete=models.PROTECT, null=True, related_name="corrections")
    row = models.IntegerField(null=True)
    regrouping = models.ForeignKey(Regrouping, on_delete=models.PROTECT, null=True, related_name="corrections")
    exam_before = models.ForeignKey(Exam, on_delete=models.PROTECT, null=True, related_name="+")
    exam_after = models.ForeignKey(Exam, on_delete=models.PROTECT, null=True, related_name="+")
    device_before = models.CharField(max_length=120, blank=True)
    device_after = models.CharField(max_length=120, blank=True)
    kind_before = models.CharField(max_length=20, blank=True)
    kind_after = models.CharField(max_length=20, blank=True)
    captured_before = models.DateTimeField(null=True)
    captured_after = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["image", "-id"], name="corrections_of_image")]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
