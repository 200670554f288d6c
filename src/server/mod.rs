//! The HTTP server: `/probe`, `/metrics` and the pages.
