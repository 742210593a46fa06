"""What readers see: tables, figures and the pages written from records."""
