//! The real router in process, on a real store in a directory of its own.

mod access;
mod documents;
mod listen;
mod logs;
mod reads;
mod support;
mod watches;
mod writes;
