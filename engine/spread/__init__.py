"""One run on several processes or machines: the head plans, admits, journals and decides; workers make and check."""
