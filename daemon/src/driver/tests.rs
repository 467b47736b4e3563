//! The driver on a real store, stepped by hand.
