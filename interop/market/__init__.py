"""The market: what was said, what it means, and what is owed. Pure: `(book, message, now) -> effects`."""
