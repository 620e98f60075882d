"""How well readers read: pictures whose kind is known, qualification, reliability, and what pages show of it."""
