"""How many threads torch takes for what one thread asks."""

from __future__ import annotations

import torch


def use(count: int) -> None:
    """Have torch take `count` threads for what the calling thread asks, whatever others ask for.

    torch keeps the number for each thread, but a thread's first question takes over what any other has set last: so it is asked first.
    """
    torch.get_num_threads()
    torch.set_num_threads(count)
