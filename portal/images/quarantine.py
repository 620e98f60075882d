"""Pictures with text burnt in: set aside for their own site's eyes, then blanked, released with an attestation, or withdrawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from PIL import Image as Picture

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import event, record, record_all
from portal.core.errors import BadInput, WrongState
from portal.images import kept, storage
from portal.images.blanking import Region, blanked
from portal.images.comparing import remember
from portal.images.dropping import drop_later
from portal.images.likeness import Look, look
from portal.images.models import Cleared, Image, ImageState, TextFound, TextRule
from portal.images.whole import require_whole
from portal.jobs import services as jobs

Boxes = Sequence[Sequence[float]]
REASON = "Text was found in the picture. Blank it or release the picture on the page Quarantine."
MIN_ATTESTATION = 10
_THUMB_SIDE = 320


def waiting(user: User) -> QuerySet[TextFound]:
    """What the sites of this person have in quarantine, the oldest first."""
    own = access.sites(user)
    rows = access.visible(TextFound, user).filter(image__state=ImageState.QUARANTINED, image__site__in=own)
    return rows.select_related("image__site", "image__exam__patient").order_by("image_id")


def unchecked(images: Sequence[Image]) -> list[Image]:
    """Of these, the clean ones in which nobody has looked for text yet."""
    known = set(TextFound.objects.filter(image__in=images, checked__isnull=False).values_list("image", flat=True))
    return [image for image in images if image.state in (ImageState.CLEAN, ImageState.FAILED) and image.pk not in known]


@transaction.atomic
def keep(found: Mapping[int, Boxes]) -> list[int]:
    """What was found in each picture, by image id; ids of those that are now in quarantine. A fixed number of statements.

    Text that lies wholly where the site's rule allows it passes, blanked first where the rule says so.
    """
    images = list(Image.objects.select_for_update(of=("self",), no_key=True).filter(pk__in=found).order_by("pk"))
    rules = {rule.site_id: rule for rule in TextRule.objects.filter(site__in={image.site_id for image in images})}
    written = [image for image in images if found[image.pk]]
    allowed = {image.pk: rule for image in written if (rule := rules.get(image.site_id)) and _all_within(rule, found[image.pk], image)}
    _remember(images, found, allowed)
    for image in written:
        if image.pk in allowed:
            _pass_by_rule(image, found[image.pk], allowed[image.pk])
    aside = [image for image in written if image.pk not in allowed and image.state in (ImageState.CLEAN, ImageState.FAILED)]
    _set_aside(aside, found)
    return [image.pk for image in aside]


def _remember(images: Sequence[Image], found: Mapping[int, Boxes], allowed: Mapping[int, TextRule]) -> None:
    rows = [
        TextFound(
            image=image, boxes=[list(box) for box in found[image.pk]], checked=Now(),
            cleared=Cleared.ALLOWED if image.pk in allowed else Cleared.NO,
        )
        for image in images
    ]  # fmt: skip
    TextFound.objects.bulk_create(rows, update_conflicts=True, unique_fields=["image"], update_fields=["boxes", "checked", "cleared"])


def _all_within(rule: TextRule, boxes: Boxes, image: Image) -> bool:
    region = Region(rule.x0, rule.y0, rule.x1, rule.y1)
    return all(region.holds(box, image.width or 0, image.height or 0) for box in boxes)


def _pass_by_rule(image: Image, boxes: Boxes, rule: TextRule) -> None:
    if rule.blank:
        _take_out(image, boxes)
    record(
        actor_id=None, action="image.text_allowed", subject=image, site_id=image.site_id, boxes=len(boxes), rule=rule.pk, blanked=rule.blank
    )


def _set_aside(images: Sequence[Image], found: Mapping[int, Boxes]) -> None:
    failed = [image.pk for image in images if image.state == ImageState.FAILED]
    if failed:
        Image.objects.filter(pk__in=failed).update(state=ImageState.CLEAN, state_reason="")
    if images:
        Image.objects.filter(pk__in=[image.pk for image in images]).update(state=ImageState.QUARANTINED, state_reason=REASON)
    record_all(
        event(actor_id=None, action="image.quarantined", subject=image, site_id=image.site_id, boxes=len(found[image.pk]))
        for image in images
    )


@transaction.atomic
def blank(*, image: Image, boxes: Boxes, actor: User) -> Image:
    """A new clean picture without what stood in these boxes; the old one is removed. Then it is looked at again, as a new one is."""
    locked = _held(image, actor)
    if not boxes:
        raise BadInput("Choose at least one region to blank.")
    _take_out(locked, boxes)
    TextFound.objects.filter(image=locked).update(checked=None, cleared=Cleared.BLANKED, cleared_by=actor, cleared_at=Now())
    record(
        actor_id=actor.pk, action="image.blanked", subject=locked, site_id=locked.site_id,
        boxes=[[round(edge) for edge in box] for box in boxes],
    )  # fmt: skip
    return _go_on(locked, actor)


@transaction.atomic
def release(*, image: Image, attestation: str, actor: User) -> Image:
    """The picture goes on as it is: somebody of the site attests, in words, that what stands there names nobody."""
    locked = _held(image, actor)
    said = attestation.strip()
    if len(said) < MIN_ATTESTATION:
        raise BadInput("Say in words what stands in the picture and why it names nobody.")
    TextFound.objects.filter(image=locked).update(cleared=Cleared.RELEASED, cleared_by=actor, cleared_at=Now(), attestation=said[:500])
    record(actor_id=actor.pk, action="image.released", subject=locked, site_id=locked.site_id, attestation=said[:500])
    return _go_on(locked, actor)


@transaction.atomic
def vouch(*, image: Image, attestation: str, actor: User) -> None:
    """The actor knows every picture of this source, as its own program drew it: nothing is looked for in it."""
    access.require(actor, "clear_text", site=image.site_id)
    known = {"checked": Now(), "cleared": Cleared.RELEASED, "cleared_by": actor, "cleared_at": Now(), "attestation": attestation[:500]}
    _, new = TextFound.objects.get_or_create(image=image, defaults=known)
    if new:
        record(actor_id=actor.pk, action="image.text_vouched", subject=image, site_id=image.site_id, attestation=attestation[:500])


@transaction.atomic
def set_rule(*, site: Site, region: Region | None, blank: bool, actor: User) -> None:
    """Where this site's device may write its timer; none: nowhere. Holds for what is checked from now on."""
    access.require(actor, "set_text_rule", site=site.pk)
    if region is not None and not _sensible(region):
        raise BadInput("Give the region in per cent, left before right and top before bottom, and at most a tenth of the picture.")
    before = TextRule.objects.filter(site=site).values("x0", "y0", "x1", "y1", "blank").first()
    if region is None:
        TextRule.objects.filter(site=site).delete()
        after = None
    else:
        after = {"x0": region.x0, "y0": region.y0, "x1": region.x1, "y1": region.y1, "blank": blank}
        TextRule.objects.update_or_create(site=site, defaults=after)
    record(actor_id=actor.pk, action="site.text_rule", subject=site, site_id=site.pk, before=before, after=after)


def _sensible(region: Region) -> bool:
    inside = 0 <= region.x0 < region.x1 <= 1 and 0 <= region.y0 < region.y1 <= 1
    return inside and (region.x1 - region.x0) * (region.y1 - region.y0) <= 0.1 + 1e-9


def _held(image: Image, actor: User) -> Image:
    access.require(actor, "clear_text", site=image.site_id)
    locked = Image.objects.select_for_update(of=("self",), no_key=True).get(pk=image.pk)
    if locked.state != ImageState.QUARANTINED:
        raise WrongState("This image is not in quarantine any more. Reload the page.")
    return locked


def _go_on(image: Image, actor: User) -> Image:
    image.state, image.state_reason = ImageState.CLEAN, ""
    image.save(update_fields=["state", "state_reason"])
    jobs.put(kind="analyse", subject_ids=[image.pk], actor_id=actor.pk)
    return image


def _take_out(image: Image, boxes: Boxes) -> None:
    """The new picture and thumbnail to their places, then the row; the old ones go by work, unless another has them."""
    old = image.clean_sha256
    image.clean_sha256, seen = _written(image, boxes)
    image.save(update_fields=["clean_sha256"])
    remember([(image, seen)])
    jobs.put(kind="compare", subject_ids=[image.pk])
    if old != image.clean_sha256:
        drop_later(image, old, image.clean_format)


def _written(image: Image, boxes: Boxes) -> tuple[str, Look]:
    picture, thumb = (kept.temporary(settings.CLEAN_DIR) for _ in range(2))
    with Picture.open(kept.local(storage.clean_path(image.site_id, image.clean_sha256, image.clean_format))) as old:
        made = blanked(old, boxes)
    _save(made, picture, image.clean_format)
    made.thumbnail((_THUMB_SIDE, _THUMB_SIDE))
    made.save(thumb, "JPEG", quality=85)
    for written in (picture, thumb):
        require_whole(written)
    return storage.keep_clean([(image.site_id, picture, thumb, image.clean_format)])[0], look(made)


def _save(picture: Picture.Image, path: Path, extension: str) -> None:
    if extension == "png":
        picture.save(path, "PNG", compress_level=1)
    else:
        picture.save(path, "JPEG", quality=95, subsampling=0)
