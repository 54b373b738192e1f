//! The seam to whatever makes machines.
