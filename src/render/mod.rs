//! Families and reports as text, for programs and for people.
