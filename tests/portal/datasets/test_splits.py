"""A patient's split is for ever."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from portal.datasets.splits import SALT, SHARES, SPLITS, assign
from training.manifest import assign_split

names = st.text(min_size=1, max_size=30)


@given(site=names, patient=names)
def test_a_patient_always_lands_in_the_same_split(site: str, patient: str) -> None:
    assert assign(site=site, patient=patient) == assign(site=site, patient=patient)
    assert assign(site=site, patient=patient) in SPLITS


@given(site=names, patient=names)
def test_training_from_the_shell_splits_alike(site: str, patient: str) -> None:
    assert assign(site=site, patient=patient) == assign_split(f"{site}/{patient}", SALT)


def test_the_example_set_fills_every_split() -> None:
    """The 40 patients that `make run` draws: five of them are test patients, at all three sites."""
    drawn = {"north-clinic": ("NC", range(1, 15)), "river-hospital": ("RH", range(1, 14)), "hill-station": ("HS", range(1, 14))}
    found = [(site, assign(site=site, patient=f"{code}-{n:03d}")) for site, (code, numbers) in drawn.items() for n in numbers]
    assert Counter(split for _, split in found) == {"train": 25, "validation": 4, "calibration": 6, "test": 5}
    assert {site for site, split in found if split == "test"} == set(drawn)


def test_the_shares_are_seventy_ten_ten_ten() -> None:
    counts = Counter(assign(site="north", patient=f"P{n}") for n in range(20_000))
    assert all(abs(counts[split] / 20_000 - share) < 0.01 for split, share in zip(SPLITS, SHARES, strict=True))


@given(site=names, patient=names)
def test_a_held_out_site_is_the_whole_test_split(site: str, patient: str) -> None:
    assert assign(site="held", patient=patient, hold_out="held") == "test"
    if site != "held":
        elsewhere = assign(site=site, patient=patient, hold_out="held")
        assert elsewhere != "test"
        # Whoever is a test patient otherwise never trains, held-out site or not
        assert (elsewhere == "train") == (assign(site=site, patient=patient) == "train")
