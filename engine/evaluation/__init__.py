"""Models put to the test: asked, scored, judged, compared."""
