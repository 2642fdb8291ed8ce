"""Documents read as text with headings and pages, and cut into the passages that items are made from."""
