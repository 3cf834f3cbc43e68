"""What crosses a border between two programs: frozen records and the option table."""
