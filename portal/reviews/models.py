"""Questions to readers about an image, and their answers."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.accounts.models import Site, User
from portal.core.models import Created
from portal.images.models import Image
from portal.ml import Kind
from portal.reviews.asks import Asks
from portal.reviews.order import SPAN

CANNOT_TELL = "cannot_tell"
ANSWERS = [*((k.value, k.value) for k in Kind), (CANNOT_TELL, CANNOT_TELL)]


LANGUAGES = [
    ("en", "English"), ("fr", "French"), ("es", "Spanish"), ("pt", "Portuguese"), ("sw", "Swahili"), ("ar", "Arabic"), ("am", "Amharic"),
    ("hi", "Hindi"), ("bn", "Bengali"), ("zh", "Chinese"), ("ru", "Russian"), ("de", "German"), ("it", "Italian"), ("no", "Norwegian"),
]  # fmt: skip


class Boxes(models.TextChoices):
    """When a reader draws the cervix: never by the study's wish, where they like, or before they may submit."""

    OPTIONAL = "optional", "where the reader likes"
    ASKED = "asked", "before the answer"


class ReviewRules(Created):
    """How triage, reading and consensus work from this row on; the newest row counts, and a question keeps the row that it began with, but
    for what holds at once: who takes part, how readers are measured, and what a page asks and shows (`asks.py`).

    `site` null: every site without a row of its own.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, related_name="+")
    reads_needed = models.IntegerField(default=1, help_text="1 to 3 independent reads before a label is settled.")
    unsure_asks = models.BooleanField(default=False, help_text="An answer given as unsure asks one further reader, as disagreement does.")
    adaptive = models.BooleanField(default=False, help_text="Stop as soon as what readers said is clear, by how well each reads.")
    boxes = models.CharField(max_length=8, choices=Boxes.choices, default=Boxes.OPTIONAL)
    reveal = models.BooleanField(default=False, help_text="Show the model's opinion once the own answer is in; it may be amended then.")
    gold_share = models.FloatField(default=0, help_text="Of what a reader is given: pictures whose answer is known, 0 to 0.2.")
    repeat_share = models.FloatField(default=0, help_text="Of what a reader is given: pictures that they read weeks ago, 0 to 0.2.")
    gold_showings = models.IntegerField(default=60, help_text="A picture whose answer is known is retired after so many showings.")
    qualify_agreement = models.FloatField(null=True, help_text="Least share of right answers before real pictures; null: not asked.")
    qualify_sensitivity = models.FloatField(null=True, help_text="The same of the pictures that are not regular.")
    only_sites = ArrayField(models.BigIntegerField(), default=list, help_text="Who works there takes part; none named here: everybody.")
    only_readers = ArrayField(models.BigIntegerField(), default=list, help_text="These take part too.")
    t_lo = models.FloatField(null=True, help_text="Stricter than the bundle's t_lo, or null for the bundle's own.")
    t_hi = models.FloatField(null=True)
    missed_share = models.FloatField(
        null=True, help_text="Of the non-regular images so many may pass unseen, 0 to 0.5; null: as the installation says."
    )
    confidence = models.FloatField(null=True, help_text="That it is no more, 0.5 to 0.999; null: 0.95.")
    audit_share = models.FloatField(
        null=True, help_text="Of all images so many are read whatever the model says, 0 to 0.2; null: as the installation says."
    )
    set_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(reads_needed__in=[1, 2, 3]), name="one_to_three_reads"),
            models.CheckConstraint(condition=Q(t_lo__isnull=True) | Q(t_lo__gte=0, t_lo__lte=1), name="t_lo_in_unit_interval"),
            models.CheckConstraint(condition=Q(t_hi__isnull=True) | Q(t_hi__gte=0, t_hi__lte=1), name="t_hi_in_unit_interval"),
            models.CheckConstraint(
                condition=Q(missed_share__isnull=True) | Q(missed_share__gte=0, missed_share__lte=0.5), name="missed_share_up_to_a_half"
            ),
            models.CheckConstraint(
                condition=Q(confidence__isnull=True) | Q(confidence__gte=0.5, confidence__lte=0.999), name="confidence_of_a_half_or_more"
            ),
            models.CheckConstraint(
                condition=Q(audit_share__isnull=True) | Q(audit_share__gte=0, audit_share__lte=0.2), name="audit_share_up_to_a_fifth"
            ),
            models.CheckConstraint(condition=Q(gold_share__gte=0, gold_share__lte=0.2), name="gold_share_up_to_a_fifth"),
            models.CheckConstraint(condition=Q(repeat_share__gte=0, repeat_share__lte=0.2), name="repeat_share_up_to_a_fifth"),
            models.CheckConstraint(condition=Q(boxes__in=Boxes.values), name="rules_known_boxes"),
            models.CheckConstraint(
                condition=Q(site__isnull=True)
                | Q(gold_share=0, repeat_share=0, qualify_agreement__isnull=True, qualify_sensitivity__isnull=True),
                name="readers_are_measured_for_all_sites_alike",
            ),
            models.CheckConstraint(condition=Q(gold_showings__gte=1), name="gold_is_shown_once_at_least"),
        ]


class TaskState(models.TextChoices):
    OPEN = "open"
    ADJUDICATION = "adjudication"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class Purpose(models.TextChoices):
    """What a question is for. Only a review settles anything; the others measure a reader, who cannot tell them from it."""

    REVIEW = "review"
    GOLD = "gold"
    REPEAT = "repeat"
    QUALIFICATION = "qualification"


LIVE_STATES = (TaskState.OPEN, TaskState.ADJUDICATION)
_ASKED = models.Func(F("created"), template="EXTRACT(epoch FROM %(expressions)s AT TIME ZONE 'UTC')::double precision")
"""Told in UTC: what depends on a session's zone cannot be kept."""


class ReviewTask(Created):
    """A question to readers about an image, and why it is asked."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="review_tasks")
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    state = models.CharField(max_length=12, choices=TaskState.choices, default=TaskState.OPEN)
    purpose = models.CharField(max_length=14, choices=Purpose.choices, default=Purpose.REVIEW)
    for_reader = models.ForeignKey(
        User, on_delete=models.PROTECT, null=True, related_name="+", help_text="Of all purposes but review: the one who is measured."
    )
    rules = models.ForeignKey(ReviewRules, on_delete=models.PROTECT, null=True, related_name="+", help_text="Null: the built-in rule.")
    reads_needed = models.IntegerField(default=1)
    answered = models.IntegerField(default=0, help_text="Answers of readers that count now, not of adjudicators.")
    priority = models.FloatField(default=0, help_text="Higher is read sooner: how much is in doubt, less what is asked already, 0..1.")
    look = models.SmallIntegerField(null=True, help_text="Of the image, as its analysis has it.")
    alike = models.SmallIntegerField(
        db_default=0, default=0, help_text="Open questions of the site about images of the same look, when this was asked."
    )
    closed = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why a person asks. Not in the audit trail: it may tell of a patient.")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, related_name="+", db_index=False, editable=False)
    readers = ArrayField(models.BigIntegerField(), default=list, editable=False)
    turn = models.GeneratedField(
        expression=_ASKED - F("priority") * SPAN.total_seconds(), output_field=models.FloatField(), db_persist=True
    )
    """These three are kept by the database, for the indexes of the queue (`queue.py`): the image's site; who has answered, by number; the
    place within the site's queue (`order.turn`)."""
    asks: Asks
    """Of a question that is before a reader; read with it (`rows.py`)."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["image"], condition=Q(state__in=["open", "adjudication"], purpose="review"), name="one_live_task_an_image"
            ),
            models.UniqueConstraint(
                fields=["image", "for_reader"],
                condition=Q(state="open") & ~Q(purpose="review"),
                name="one_live_measure_an_image_and_reader",
            ),
            models.CheckConstraint(condition=Q(purpose__in=Purpose.values), name="task_known_purpose"),
            models.CheckConstraint(condition=Q(purpose="review") ^ Q(for_reader__isnull=False), name="task_for_one_reader_unless_review"),
            models.CheckConstraint(condition=Q(answered__gte=0), name="task_answered_not_negative"),
            models.CheckConstraint(condition=Q(state__in=TaskState.values), name="task_known_state"),
        ]
        indexes = [
            models.Index(fields=["site", "turn", "id"], condition=Q(state="open", purpose="review", answered=0), name="task_fresh"),
            models.Index(
                fields=["readers", "turn", "id"],
                condition=Q(state="open", purpose="review", answered__gt=0, answered__lt=F("reads_needed")),
                name="task_begun",
            ),
            models.Index(fields=["turn", "id"], condition=Q(state="adjudication"), name="task_adjudication"),
            models.Index(fields=["site", "look"], condition=Q(state="open", purpose="review", look__isnull=False), name="task_alike"),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="site_of_image", when=pgtrigger.Before, operation=pgtrigger.Insert,
                func="NEW.site_id = (SELECT site_id FROM images_image WHERE id = NEW.image_id); NEW.readers = '{}'; RETURN NEW;",
            ),
        ]  # fmt: skip


class KnownImage(Created):
    """A picture whose kind is beyond doubt: two readers said so without knowing of each other, and so it was settled.

    Given to readers to measure them, under the looks of a review. `qualifying`: to those who begin, before any real picture.
    """

    image = models.OneToOneField(Image, on_delete=models.PROTECT, related_name="known")
    kind = models.CharField(max_length=20, choices=[(k.value, k.value) for k in Kind])
    qualifying = models.BooleanField(default=False)
    showings = models.IntegerField(default=0)
    retired = models.DateTimeField(null=True, help_text="Shown so often that readers may know it; shown no more.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(kind__in=[k.value for k in Kind]), name="known_kind")]
        indexes = [models.Index(fields=["kind"], condition=Q(retired__isnull=True), name="known_pool")]


class Qualification(Created):
    """A reader may read real pictures: they have answered the qualification set well enough, or somebody answers for them."""

    reader = models.OneToOneField(User, on_delete=models.PROTECT, related_name="qualification")
    waived_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    answered = models.IntegerField(default=0)
    right = models.IntegerField(default=0)
    patients = models.IntegerField(default=0, help_text="Whose pictures these were.")
    not_regular = models.IntegerField(default=0)
    found = models.IntegerField(default=0, help_text="Of those not regular, called by their kind.")


class Lease(Created):
    """A reader holds a task for a while. `token` is the picture's address: random, and dead with the lease."""

    task = models.ForeignKey(ReviewTask, on_delete=models.CASCADE, related_name="leases")
    reader = models.ForeignKey(User, on_delete=models.CASCADE, related_name="leases", db_index=False)
    token = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField()
    ended = models.DateTimeField(null=True, help_text="Submitted, skipped, given back or taken away; null while held.")
    reserved = models.BooleanField(default=False, help_text="Fetched ahead: counted as held, for a short while, and not yet shown.")
    skipped = models.CharField(max_length=30, blank=True, db_default="", help_text="Why it was given back unread, where that was said.")
    revealed = models.DateTimeField(null=True, help_text="When the model's opinion was shown to its reader, after the own answer.")
    adjudicating = models.BooleanField(default=False, db_default=False, help_text="Held to settle: what others said was shown with it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "reader"], condition=Q(ended__isnull=True), name="one_lease_a_task_and_reader"),
        ]
        indexes = [
            models.Index(fields=["reader", "-id"], name="lease_last_of_reader"),
            models.Index(fields=["reader"], condition=Q(ended__isnull=True), name="lease_open_of_reader"),
            models.Index(fields=["reader", "task"], condition=~Q(skipped=""), name="lease_skipped"),
            models.Index(fields=["reader", "task"], condition=Q(revealed__isnull=False) | Q(adjudicating=True), name="lease_knowing"),
        ]


class Draft(Created):
    """What a reader has marked and not yet submitted. Outlives a lost line, an expired login and the lease; ends with the answer."""

    task = models.ForeignKey(ReviewTask, on_delete=models.CASCADE, related_name="drafts")
    reader = models.ForeignKey(User, on_delete=models.CASCADE, related_name="drafts")
    content = models.JSONField(default=dict)
    moved = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "reader"], name="one_draft_a_task_and_reader")]


class Read(Created):
    """A reader's answer, or a later version of it. Kept for ever and never changed, but for `current` and `undone`.

    An answer that was amended or undone counts no longer. A reader has one answer to a task that counts.
    """

    task = models.ForeignKey(ReviewTask, on_delete=models.PROTECT, related_name="reads")
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="reads")
    version = models.IntegerField(default=1)
    current = models.BooleanField(default=True)
    undone = models.BooleanField(default=False, help_text="Taken back at once, as a slip: it never counted.")
    kind = models.CharField(max_length=20, choices=ANSWERS)
    confidence = models.IntegerField(null=True, help_text="1 unsure, 2 fairly sure, 3 sure; null where it was not asked.")
    box = ArrayField(models.FloatField(), size=4, null=True)
    reasons = ArrayField(models.CharField(max_length=60), default=list, help_text="Of `unusable` and of `cannot_tell`.")
    note = models.TextField(blank=True, max_length=2000)
    role = models.CharField(max_length=12, choices=[("reader", "reader"), ("adjudicator", "adjudicator")], default="reader")
    seconds = models.FloatField(default=0, help_text="Active time: neither idle nor with the tab hidden.")
    revealed = models.BooleanField(default=False, help_text="The model's opinion had been shown before this version.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "reader", "version"], name="one_read_a_version"),
            models.UniqueConstraint(fields=["task", "reader"], condition=Q(current=True), name="one_read_a_task_and_reader"),
            models.CheckConstraint(condition=Q(kind__in=[value for value, _ in ANSWERS]), name="read_known_kind"),
            models.CheckConstraint(condition=Q(confidence__isnull=True) | Q(confidence__in=[1, 2, 3]), name="read_known_confidence"),
        ]
        indexes = [models.Index(fields=["reader", "created"], name="read_by_reader_and_day")]
        triggers = [
            pgtrigger.ReadOnly(name="only_current_changes", exclude=["current", "undone"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
            pgtrigger.Trigger(
                name="readers_of_task", when=pgtrigger.After, operation=pgtrigger.Insert | pgtrigger.UpdateOf("current"),  # type: ignore[no-untyped-call]
                condition=pgtrigger.Q(new__role="reader"),
                func="""UPDATE reviews_reviewtask SET readers = ARRAY(
                    SELECT reader_id FROM reviews_read WHERE task_id = NEW.task_id AND current AND role = 'reader' ORDER BY reader_id
                ) WHERE id = NEW.task_id; RETURN NULL;""",
            ),
        ]  # fmt: skip


class Reliability(Created):
    """How well each reader read by then, made from `answers` answers. Append-only: a decision by likelihood names the row that it used.

    `content.skill`: as `skill.Skill` is in JSON; `content.readers`: by reader's id, what pages show of them;
    `content.switching`: how often a revealed opinion moves readers.
    """

    content = models.JSONField()
    upto = models.BigIntegerField(help_text="The newest answer there was.")
    answers = models.IntegerField()
    images = models.IntegerField()
    patients = models.IntegerField()

    class Meta:
        triggers = [pgtrigger.Protect(name="only_more", operation=pgtrigger.Update | pgtrigger.Delete)]


class ReaderSettings(models.Model):
    """How a reader likes to read, and when they can. Theirs alone to set."""

    reader = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="reading")
    keys = models.JSONField(default=dict, help_text="Command -> key, where it is not the usual one.")
    low_bandwidth = models.BooleanField(default=False, help_text="Smaller pictures first, nothing fetched ahead.")
    away_from = models.DateField(null=True)
    away_until = models.DateField(null=True)
    at_most_a_day = models.IntegerField(null=True, help_text="Pictures; null: no limit.")
    languages = ArrayField(
        models.CharField(max_length=2, choices=LANGUAGES), default=list, help_text="In which notes are written and read."
    )
    digest_days = models.IntegerField(default=0, help_text="Days between reminders by e-mail; 0: none.")
    reminded = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(at_most_a_day__isnull=True) | Q(at_most_a_day__gte=1), name="one_picture_a_day_at_least"),
            models.CheckConstraint(condition=Q(digest_days__gte=0), name="days_between_reminders"),
            models.CheckConstraint(
                condition=Q(away_from__isnull=True) | Q(away_until__isnull=True) | Q(away_until__gte=F("away_from")),
                name="away_from_before_until",
            ),
        ]
