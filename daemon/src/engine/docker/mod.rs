//! The Docker Engine through bollard. The only module that knows either.
