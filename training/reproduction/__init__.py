"""The paper's experiment on any collection: its tables and figures beside its own published ones."""
