"""The reader's side of a question: drafts, versions, what lies beside a picture, keys and preferences."""
