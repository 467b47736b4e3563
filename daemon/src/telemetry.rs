//! Log set-up, and the list of field names that events use.
