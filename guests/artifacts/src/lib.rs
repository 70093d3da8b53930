//! Builds each guest and exports where it is.
