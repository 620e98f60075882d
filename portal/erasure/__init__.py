"""Taking back a patient, an exam or an image: out of all that comes, or out of the house. No table of its own: see `portal.holdings`."""
