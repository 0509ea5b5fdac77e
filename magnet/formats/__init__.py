"""How Django writes dates, by language; `core.admin_display` writes its own in the same way."""
