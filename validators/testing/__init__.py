"""Code that is checked by its tests: programs for the sandbox, wrong versions of a solution, the validator."""
