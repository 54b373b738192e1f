//! The masks against a naive twin that asks every type and offering one by one.
