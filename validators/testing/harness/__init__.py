"""The programs that run solutions in the sandbox. Each is sent as text, with the values it needs as GIVEN before it."""
