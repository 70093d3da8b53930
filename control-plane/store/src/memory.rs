//! The reference implementation: short, obviously right, used in simulation.
